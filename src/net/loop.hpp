// One thread's event loop: tasks, timers, signals. Everything of `net` belongs to one loop and is used on
// its thread alone; post() and stop() may be called from any thread.
#pragma once

#include <coroutine>
#include <functional>
#include <initializer_list>
#include <memory>

#include "core/clock.hpp"
#include "net/task.hpp"

namespace moesaic::net {

class Loop {
 public:
  Loop();
  /// As drop_tasks(), then destroys the loop. Objects that use the loop must be gone or belong to tasks by
  /// then.
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  /// Runs until stop().
  void run();
  /// Runs what is ready and returns; true when something ran. For tests.
  bool poll();
  void stop();
  /// Destroys the tasks that still wait. For owners of what these tasks refer to, after run(), before it
  /// dies.
  void drop_tasks();

  /// Runs `work` on the loop's thread, soon.
  void post(std::function<void()> work);
  /// Starts a task that nobody awaits.
  void spawn(Task<void> task);
  /// Monotonic.
  Nanoseconds now() const;
  Task<void> sleep(Nanoseconds duration);
  /// Calls `handler` on the loop's thread whenever one of the signals comes. Once a loop.
  void on_signals(std::initializer_list<int> signals, const std::function<void(int)>& handler);

  struct Impl;
  Impl& impl() { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

/// Calls back once at a time that may be moved. Moving it later costs nothing until it would have fired.
class Timer {
 public:
  Timer(Loop& loop, std::function<void()> fire);
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  void set(Nanoseconds at);
  void clear();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

/// Something that one task may wait for. set() before wait() is remembered; may be reset() and used again.
class Event {
 public:
  explicit Event(Loop& loop) : loop_(&loop), state_(std::make_shared<State>()) {}
  ~Event() { state_->waiter = {}; }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  /// The waiter goes on from the loop, not from inside this call.
  void set();
  void reset() { state_->is_set = false; }
  bool is_set() const { return state_->is_set; }
  /// At most one task at a time.
  auto wait() {
    struct Awaiter {
      State* state;
      bool await_ready() const { return state->is_set; }
      void await_suspend(std::coroutine_handle<> caller) { state->waiter = caller; }
      void await_resume() const {}
    };
    return Awaiter{state_.get()};
  }

 private:
  struct State {
    bool is_set = false;
    std::coroutine_handle<> waiter;
  };
  Loop* loop_;
  std::shared_ptr<State> state_;
};

}  // namespace moesaic::net
