#include "net/loop.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>

#include "net/loop_impl.hpp"
#include "net/reactor.ipp"

namespace moesaic::net {
namespace {

namespace asio = boost::asio;

std::chrono::steady_clock::time_point time_point(Nanoseconds at) {
  return std::chrono::steady_clock::time_point(
      std::chrono::duration_cast<std::chrono::steady_clock::duration>(at));
}

/// The outermost coroutine of a spawned task: it owns itself and is listed with its loop.
struct Root {
  struct promise_type {
    std::list<std::coroutine_handle<>>* list;
    std::list<std::coroutine_handle<>>::iterator place;

    promise_type(Loop::Impl& loop, Task<void>&) : list(&loop.roots) {
      place = list->insert(list->end(), std::coroutine_handle<promise_type>::from_promise(*this));
    }
    ~promise_type() { list->erase(place); }
    Root get_return_object() { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void unhandled_exception() noexcept { std::terminate(); }
    void return_void() {}
  };
};

Root run_root(Loop::Impl&, Task<void> task) { co_await task; }

void wait_for_signal(asio::signal_set& signals, const std::function<void(int)>& handler) {
  signals.async_wait([&signals, handler](const boost::system::error_code& error, int signal) {
    if (error) return;
    handler(signal);
    wait_for_signal(signals, handler);
  });
}

}  // namespace

Loop::Impl::Impl() : reactor(std::make_unique<Reactor>()) {}
Loop::Impl::~Impl() { drop_roots(); }
void Loop::Impl::drop_roots() {
  while (!roots.empty()) roots.front().destroy();
}

Loop::Loop() : impl_(std::make_unique<Impl>()) {}
Loop::~Loop() = default;

void Loop::run() {
  reactor_of(*this).restart();
  const auto work = asio::make_work_guard(reactor_of(*this));
  reactor_of(*this).run();
}
bool Loop::poll() {
  reactor_of(*this).restart();
  return reactor_of(*this).poll() > 0;
}
void Loop::stop() { reactor_of(*this).stop(); }
void Loop::drop_tasks() { impl_->drop_roots(); }
void Loop::post(std::function<void()> work) { asio::post(reactor_of(*this), std::move(work)); }
void Loop::spawn(Task<void> task) { run_root(*impl_, std::move(task)); }
Nanoseconds Loop::now() const { return std::chrono::steady_clock::now().time_since_epoch(); }

Task<void> Loop::sleep(Nanoseconds duration) {
  Event over(*this);
  Timer timer(*this, [&over] { over.set(); });
  timer.set(now() + duration);
  co_await over.wait();
}

void Loop::on_signals(std::initializer_list<int> signals, const std::function<void(int)>& handler) {
  auto& set = impl_->reactor->signals.emplace(impl_->reactor->context);
  for (const int signal : signals) set.add(signal);
  wait_for_signal(set, handler);
}

void Event::set() {
  if (state_->is_set) return;
  state_->is_set = true;
  if (!state_->waiter) return;
  loop_->post([state = state_] {
    if (const auto waiter = std::exchange(state->waiter, {})) waiter.resume();
  });
}

struct Timer::Impl : std::enable_shared_from_this<Timer::Impl> {
  Impl(asio::io_context& context, std::function<void()> on_fire) : timer(context), fire(std::move(on_fire)) {}

  void arm() {
    armed = at;
    timer.expires_at(time_point(at));
    timer.async_wait([self = shared_from_this()](const boost::system::error_code& error) {
      if (error || self->armed == kNever) return;
      self->armed = kNever;
      if (self->at == kNever) return;
      if (std::chrono::steady_clock::now().time_since_epoch() < self->at) return self->arm();
      self->at = kNever;
      const std::function<void()> call = self->fire;
      call();
    });
  }

  static constexpr Nanoseconds kNever = Nanoseconds::max();
  asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>,
                             asio::io_context::executor_type>
      timer;
  std::function<void()> fire;
  Nanoseconds at = kNever;     ///< when to call
  Nanoseconds armed = kNever;  ///< when the reactor wakes us: never later than `at`
};

Timer::Timer(Loop& loop, std::function<void()> fire)
    : impl_(std::make_shared<Impl>(reactor_of(loop), std::move(fire))) {}
Timer::~Timer() {
  impl_->at = impl_->armed = Impl::kNever;
  try {
    impl_->timer.cancel();
  } catch (const std::exception&) {
    impl_->fire = nullptr;  // the wait ends when it was set for, and finds nothing to call
  }
}
void Timer::set(Nanoseconds at) {
  impl_->at = at;
  if (impl_->armed > at) impl_->arm();
}
void Timer::clear() { impl_->at = Impl::kNever; }

}  // namespace moesaic::net
