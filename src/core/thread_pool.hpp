// A fixed set of threads for index-parallel loops. Work is handed out in index order; what a loop
// computes must not depend on which thread ran an index, so results are the same at any thread count.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "core/result.hpp"

namespace moesaic {

class ThreadPool {
 public:
  /// `threads` counts the caller; 0 = as many as the machine has cores.
  explicit ThreadPool(std::size_t threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  std::size_t threads() const { return workers_.size() + 1; }

  /// Calls body(i) once for every i in [0, count), on all threads, and waits. Not reentrant.
  void parallel_for(std::size_t count, const std::function<void(std::size_t)>& body);

  /// As above for bodies that can fail: returns the error of the lowest failing index. Indices after a
  /// failed one may be skipped.
  Status try_parallel_for(std::size_t count, const std::function<Status(std::size_t)>& body);

 private:
  void work();
  void drain(std::unique_lock<std::mutex>& lock);

  std::mutex mutex_;
  std::condition_variable wake_, done_;
  const std::function<void(std::size_t)>* body_ = nullptr;
  std::size_t next_ = 0, count_ = 0, running_ = 0;
  bool stop_ = false;
  std::vector<std::thread> workers_;
};

}  // namespace moesaic
