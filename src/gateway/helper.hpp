// The one thread beside the loop: work that would hold requests up.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace moesaic::gateway {

/// Runs work in order. The destructor drops what has not begun and waits for what has.
class Helper {
 public:
  Helper() : thread_([this] { run(); }) {}
  ~Helper() {
    stop([] { return false; });
  }
  Helper(const Helper&) = delete;
  Helper& operator=(const Helper&) = delete;

  /// REQUIRES: not stopped.
  void add(std::function<void()> work) {
    {
      const std::lock_guard lock(mutex_);
      queue_.push_back(std::move(work));
    }
    wake_.notify_one();
  }

  /// Goes on with what was added, asking `may_begin` (on the helper's thread) before each piece, and ends.
  /// Returns how many pieces were dropped. Once; later calls do nothing.
  std::size_t stop(std::function<bool()> may_begin) {
    if (!thread_.joinable()) return 0;
    {
      const std::lock_guard lock(mutex_);
      may_begin_ = std::move(may_begin);
      stopping_ = true;
    }
    wake_.notify_one();
    thread_.join();
    const std::size_t dropped = queue_.size();
    queue_.clear();
    return dropped;
  }

  bool stopping() {
    const std::lock_guard lock(mutex_);
    return stopping_;
  }

 private:
  void run() {
    while (true) {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      if (stopping_ && (queue_.empty() || !may_begin_())) return;
      const std::function<void()> work = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      work();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> queue_;
  std::function<bool()> may_begin_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace moesaic::gateway
