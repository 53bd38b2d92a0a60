// A coroutine that runs on one loop's thread: the form of everything that waits. Lazy: it starts when it is
// awaited or spawned (net/loop.hpp). Destroying a task that waits destroys its frame and, with it, what it
// owns. No exception leaves a task; one that tries ends the program. GCC 12 destroys twice what a ?: or a
// braced list makes inside the arguments of an awaited call: give such values a name first. And it awaits the
// right side of && in a loop's condition though the left is false: await in the body.
#pragma once

#include <coroutine>
#include <cstddef>
#include <exception>
#include <optional>
#include <utility>

#include "core/result.hpp"
#include "net/frames.hpp"

namespace moesaic::net {

namespace detail {

struct TaskPromiseBase {
  std::coroutine_handle<> continuation;

  static void* operator new(std::size_t bytes) { return new_frame(bytes); }
  static void operator delete(void* frame, std::size_t bytes) noexcept { delete_frame(frame, bytes); }

  struct Final {
    bool await_ready() noexcept { return false; }
    template <class Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> self) noexcept {
      const std::coroutine_handle<> next = self.promise().continuation;
      return next ? next : std::noop_coroutine();
    }
    void await_resume() noexcept {}
  };

  std::suspend_always initial_suspend() noexcept { return {}; }
  Final final_suspend() noexcept { return {}; }
  void unhandled_exception() noexcept { std::terminate(); }
};

template <class T>
struct TaskPromise : TaskPromiseBase {
  std::optional<T> value;
  std::coroutine_handle<TaskPromise> get_return_object() {
    return std::coroutine_handle<TaskPromise>::from_promise(*this);
  }
  template <class U>
  void return_value(U&& result) {
    value.emplace(std::forward<U>(result));
  }
  T take() { return std::move(*value); }
};

template <>
struct TaskPromise<void> : TaskPromiseBase {
  std::coroutine_handle<TaskPromise> get_return_object() {
    return std::coroutine_handle<TaskPromise>::from_promise(*this);
  }
  void return_void() {}
  void take() {}
};

}  // namespace detail

template <class T = void>
class [[nodiscard]] Task {
 public:
  using promise_type = detail::TaskPromise<T>;
  using Handle = std::coroutine_handle<promise_type>;

  Task(Handle handle) : handle_(handle) {}
  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
  Task& operator=(Task&& other) noexcept {
    if (this != &other) {
      if (handle_) handle_.destroy();
      handle_ = std::exchange(other.handle_, {});
    }
    return *this;
  }
  ~Task() {
    if (handle_) handle_.destroy();
  }

  bool await_ready() const noexcept { return false; }
  /// Runs the task until it waits. One that ends at once resumes its caller without growing the stack, so
  /// that loops over ready input are flat in every build.
  bool await_suspend(std::coroutine_handle<> caller) {
    handle_.resume();
    if (handle_.done()) return false;
    handle_.promise().continuation = caller;
    return true;
  }
  T await_resume() { return handle_.promise().take(); }

 private:
  Handle handle_;
};

}  // namespace moesaic::net

/// MOESAIC_TRY and MOESAIC_ASSIGN for coroutines.
#define MOESAIC_CO_TRY(expression)                                                    \
  do {                                                                                \
    auto&& moesaic_status = (expression);                                             \
    if (!moesaic_status) co_return tl::unexpected(std::move(moesaic_status).error()); \
  } while (false)
#define MOESAIC_CO_ASSIGN(target, expression) \
  MOESAIC_CO_ASSIGN_(MOESAIC_CONCAT(moesaic_result_, __LINE__), target, expression)
#define MOESAIC_CO_ASSIGN_(name, target, expression)            \
  auto name = (expression);                                     \
  if (!name) co_return tl::unexpected(std::move(name).error()); \
  target = std::move(*name)
