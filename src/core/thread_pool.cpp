#include "core/thread_pool.hpp"

#include <algorithm>
#include <atomic>
#include <optional>

#include "core/check.hpp"

namespace moesaic {

ThreadPool::ThreadPool(std::size_t threads) {
  if (threads == 0) threads = std::max(1u, std::thread::hardware_concurrency());
  workers_.reserve(threads - 1);
  for (std::size_t i = 1; i < threads; ++i) workers_.emplace_back([this] { work(); });
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::drain(std::unique_lock<std::mutex>& lock) {
  while (body_ != nullptr && next_ < count_) {
    const std::size_t item = next_++;
    const auto* body = body_;
    ++running_;
    lock.unlock();
    (*body)(item);
    lock.lock();
    --running_;
  }
  if (running_ == 0) done_.notify_all();
}

void ThreadPool::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return stop_ || (body_ != nullptr && next_ < count_); });
    if (stop_) return;
    drain(lock);
  }
}

void ThreadPool::parallel_for(std::size_t count, const std::function<void(std::size_t)>& body) {
  std::unique_lock lock(mutex_);
  MOESAIC_CHECK(body_ == nullptr);  // not reentrant
  body_ = &body;
  next_ = 0;
  count_ = count;
  wake_.notify_all();
  drain(lock);
  done_.wait(lock, [this] { return next_ >= count_ && running_ == 0; });
  body_ = nullptr;
}

Status ThreadPool::try_parallel_for(std::size_t count, const std::function<Status(std::size_t)>& body) {
  std::mutex mutex;
  std::optional<std::pair<std::size_t, Error>> first;
  std::atomic<std::size_t> failed{count};
  parallel_for(count, [&](std::size_t i) {
    if (i > failed.load(std::memory_order_relaxed)) return;
    Status status = body(i);
    if (status) return;
    const std::lock_guard lock(mutex);
    if (!first || i < first->first) {
      first.emplace(i, std::move(status).error());
      failed.store(i, std::memory_order_relaxed);
    }
  });
  if (first) return tl::unexpected(std::move(first->second));
  return {};
}

}  // namespace moesaic
