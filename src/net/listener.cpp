// Connections to others and from others.
#include <fmt/format.h>

#include <boost/asio/connect.hpp>
#include <vector>

#include "net/connection.ipp"

namespace moesaic::net {
namespace {

using Acceptor = asio::basic_socket_acceptor<tcp, asio::io_context::executor_type>;
using Resolver = asio::ip::basic_resolver<tcp, asio::io_context::executor_type>;

/// An attempt to connect, alive while Asio holds its handlers.
struct Attempt {
  explicit Attempt(Loop& loop) : socket(reactor_of(loop)), resolver(reactor_of(loop)), over(loop) {}
  Socket socket;
  Resolver resolver;
  Event over;
  error_code error;
  bool late = false;
};

void attempt_connect(const std::shared_ptr<Attempt>& attempt, std::vector<tcp::endpoint> endpoints) {
  // async_connect copies iterators only: the list must live until it is over.
  const auto list = std::make_shared<std::vector<tcp::endpoint>>(std::move(endpoints));
  asio::async_connect(attempt->socket, *list, [attempt, list](const error_code& error, const tcp::endpoint&) {
    attempt->error = error;
    attempt->over.set();
  });
}

}  // namespace

Task<Result<Connection>> connect(Loop& loop, const std::string& host, std::uint16_t port,
                                 Nanoseconds timeout) {
  const auto attempt = std::make_shared<Attempt>(loop);
  error_code not_numeric;
  const auto address = asio::ip::make_address(host, not_numeric);
  if (!not_numeric) {
    attempt_connect(attempt, {tcp::endpoint(address, port)});
  } else {
    attempt->resolver.async_resolve(host, std::to_string(port),
                                    [attempt](const error_code& error, const Resolver::results_type& found) {
                                      if (error || attempt->late) {
                                        attempt->error = error;
                                        attempt->over.set();
                                        return;
                                      }
                                      std::vector<tcp::endpoint> endpoints;
                                      for (const auto& entry : found) endpoints.push_back(entry.endpoint());
                                      attempt_connect(attempt, std::move(endpoints));
                                    });
  }
  Timer timer(loop, [attempt] {
    attempt->late = true;
    attempt->resolver.cancel();
    error_code ignored;
    attempt->socket.close(ignored);
    attempt->error = asio::error::timed_out;
    attempt->over.set();
  });
  timer.set(loop.now() + timeout);
  co_await attempt->over.wait();
  if (attempt->late || attempt->error) {
    co_return environment_error(
        fmt::format("{}:{}: cannot connect: {}", host, port,
                    attempt->late ? std::string("no answer in time") : attempt->error.message()));
  }
  co_return Connection(std::make_shared<Connection::Impl>(loop, std::move(attempt->socket)));
}

struct Listener::Impl {
  Impl(Loop& the_loop) : loop(the_loop), acceptor(reactor_of(the_loop)), socket(reactor_of(the_loop)) {}
  Loop& loop;
  Acceptor acceptor;
  Socket socket;
  error_code error;
  std::coroutine_handle<> waiter;
};

Listener::Listener(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
Listener::Listener(Listener&&) noexcept = default;
Listener& Listener::operator=(Listener&&) noexcept = default;
Listener::~Listener() {
  if (!impl_) return;
  impl_->waiter = {};
  close();
}

Result<Listener> Listener::open(Loop& loop, const std::string& address, std::uint16_t port) {
  auto impl = std::make_shared<Impl>(loop);
  error_code error;
  const auto fail = [&](std::string_view step) {
    return environment_error(fmt::format("{}:{}: cannot {}: {}; choose another address or port", address,
                                         port, step, error.message()));
  };
  const auto ip = asio::ip::make_address(address, error);
  if (error) {
    return bad_input(fmt::format("\"{}\": expected an IP address to listen on, such as 127.0.0.1", address));
  }
  const tcp::endpoint endpoint(ip, port);
  impl->acceptor.open(endpoint.protocol(), error);
  if (error) return fail("open a socket");
  impl->acceptor.set_option(Acceptor::reuse_address(true), error);
  impl->acceptor.bind(endpoint, error);
  if (error) return fail("bind");
  impl->acceptor.listen(4096, error);
  if (error) return fail("listen");
  return Listener(std::move(impl));
}

std::uint16_t Listener::port() const {
  error_code error;
  return impl_->acceptor.local_endpoint(error).port();
}

Task<Result<Connection>> Listener::accept() {
  struct Awaiter {
    std::shared_ptr<Impl> impl;
    bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> caller) const {
      impl->waiter = caller;
      impl->acceptor.async_accept(impl->socket, [shared = impl](const error_code& error) {
        shared->error = error;
        if (const auto waiter = std::exchange(shared->waiter, {})) waiter.resume();
      });
    }
    void await_resume() const {}
  };
  const std::shared_ptr<Impl> impl = impl_;
  if (!impl->acceptor.is_open()) co_return environment_error("the listener is closed");
  const Awaiter accepted{impl};
  co_await accepted;
  if (impl->error) co_return environment_error(fmt::format("cannot accept: {}", impl->error.message()));
  Socket socket = std::move(impl->socket);
  impl->socket = Socket(reactor_of(impl->loop));
  co_return Connection(std::make_shared<Connection::Impl>(impl->loop, std::move(socket)));
}

void Listener::close() {
  error_code ignored;
  if (impl_ && impl_->acceptor.is_open()) impl_->acceptor.close(ignored);
}
bool Listener::is_open() const { return impl_ && impl_->acceptor.is_open(); }

}  // namespace moesaic::net
