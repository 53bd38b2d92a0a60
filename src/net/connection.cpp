#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/write.hpp>
#include <cerrno>

#include "core/check.hpp"
#include "net/connection.ipp"

namespace moesaic::net {

std::string_view to_string(Broken broken) {
  switch (broken) {
    case Broken::kNot:
      return "open";
    case Broken::kEnded:
      return "closed by the peer";
    case Broken::kReset:
      return "broken by the peer or the network";
    case Broken::kDeadline:
      return "too slow";
    case Broken::kShut:
      return "closed here";
  }
  return "";
}

Connection::Impl::Impl(Loop& the_loop, Socket a_socket) : loop(the_loop), socket(std::move(a_socket)) {
  error_code ignored;
  socket.non_blocking(true, ignored);
  socket.set_option(tcp::no_delay(true), ignored);
}

void Connection::Impl::consume(std::size_t bytes) {
  MOESAIC_CHECK(bytes <= end - begin);
  begin += bytes;
  if (begin < end || reading) return;
  begin = end = 0;
  if (buffer.size() > kSmallRead) {  // an idle connection keeps little
    buffer.resize(kSmallRead);
    buffer.shrink_to_fit();
  }
}

void Connection::Impl::shut(Broken why, bool reset) {
  if (broken == Broken::kNot || broken == Broken::kEnded) broken = why;
  if (descriptor >= 0) {
    const linger at_once{.l_onoff = 1, .l_linger = 0};
    if (reset) ::setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    poller_of(loop).remove(*this);
    ::close(std::exchange(descriptor, -1));
    if (!reader && !writer && !closed) return;
    loop.post([self = shared_from_this()] {  // who waits goes on from the loop, not from inside this call
      if (const auto waiter = std::exchange(self->reader, {})) {
        waiter.resume();
      } else {
        self->tell_closed();
      }
      self->write_done(false);
    });
    return;
  }
  error_code ignored;
  if (!socket.is_open()) return;
  if (reset) socket.set_option(asio::socket_base::linger(true, 0), ignored);
  socket.close(ignored);  // handlers that wait are called with an error
}

void Connection::Impl::tell_closed() {
  if (const auto call = std::exchange(closed, {})) call();
}

bool Connection::Impl::is_plain() {
  if (tls) return false;
  if (descriptor >= 0 || !socket.is_open()) return true;
  error_code failed;
  const int ours = socket.release(failed);
  if (failed) {
    shut(Broken::kReset, true);
  } else if (poller_of(loop).add(ours, *this)) {
    descriptor = ours;
  } else {
    ::close(ours);
    broken = Broken::kReset;
  }
  return true;
}

void Connection::Impl::ready(std::uint32_t events) {
  const auto self = shared_from_this();  // what goes on may drop the connection
  constexpr std::uint32_t kEnd = EPOLLRDHUP | EPOLLHUP | EPOLLERR;
  if ((events & kEnd) != 0) ended = true;
  eager = 0;
  if ((events & (EPOLLIN | kEnd)) != 0) {
    may_read = true;
    read_on();
  }
  if (writer && descriptor >= 0 && (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) {
    const bool good = send_some();
    if (!good || unsent.empty()) write_done(good);
  }
}

void Connection::Impl::make_room() {
  if (begin > 0) {
    std::copy(buffer.begin() + static_cast<std::ptrdiff_t>(begin),
              buffer.begin() + static_cast<std::ptrdiff_t>(end), buffer.begin());
    end -= begin;
    begin = 0;
  }
  if (buffer.size() < end + read_size) buffer.resize(end + read_size);
}

bool Connection::Impl::receive() {
  make_room();
  ssize_t got = -1;
  do {
    got = ::recv(descriptor, buffer.data() + end, read_size, 0);
  } while (got < 0 && errno == EINTR);
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
    may_read = false;
    return false;
  }
  if (got <= 0) {
    may_read = false;
    broken = got == 0 ? Broken::kEnded : Broken::kReset;
    return true;
  }
  const auto bytes = static_cast<std::size_t>(got);
  end += bytes;
  // The kernel tells when more comes than a read that was not full has left; not of an end it has told.
  may_read = bytes == read_size || ended;
  read_size = bytes == read_size ? std::min(kLargeRead, 2 * read_size) : kSmallRead;
  return true;
}

void Connection::Impl::read_on() {
  if (broken != Broken::kNot || descriptor < 0) return;
  if (!reader) return watch_close();
  if (receive()) std::exchange(reader, {}).resume();
}

void Connection::Impl::watch_close() {
  while (closed && may_read && broken == Broken::kNot && end - begin < kMaxUnasked) receive();
  if (broken != Broken::kNot) tell_closed();
}

bool Connection::Impl::send_some() {
  std::size_t first = 0;
  bool good = true;
  while (first < unsent.size()) {
    msghdr message{};
    message.msg_iov = unsent.data() + first;
    message.msg_iovlen = std::min<std::size_t>(unsent.size() - first, 64);
    const ssize_t sent = ::sendmsg(descriptor, &message, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) {
      good = errno == EAGAIN || errno == EWOULDBLOCK;
      break;
    }
    auto left = static_cast<std::size_t>(sent);
    while (first < unsent.size() && left >= unsent[first].iov_len) left -= unsent[first++].iov_len;
    if (left == 0) continue;
    unsent[first].iov_base = static_cast<char*>(unsent[first].iov_base) + left;
    unsent[first].iov_len -= left;
  }
  unsent.erase(unsent.begin(), unsent.begin() + static_cast<std::ptrdiff_t>(first));
  return good;
}

void Connection::Impl::start_read() {
  if (reading || broken != Broken::kNot) return;
  make_room();
  reading = true;
  tls->async_read_some(asio::buffer(buffer.data() + end, read_size),
                       [self = shared_from_this()](const error_code& error, std::size_t bytes) {
                         self->read_done(error, bytes);
                       });
}

void Connection::Impl::read_done(const error_code& error, std::size_t bytes) {
  reading = false;
  end += bytes;
  read_size = bytes == read_size ? std::min(kLargeRead, 2 * read_size) : kSmallRead;
  if (error && broken == Broken::kNot) {
    const bool over = error == asio::error::eof || error == asio::ssl::error::stream_truncated;
    broken = over ? Broken::kEnded : Broken::kReset;
  }
  if (const auto waiter = std::exchange(reader, {})) return waiter.resume();
  if (broken != Broken::kNot) return tell_closed();
  if (closed && end - begin < kMaxUnasked) start_read();
}

void Connection::Impl::write_done(bool good) {
  written = good;
  const auto waiter = std::exchange(writer, {});
  if (!waiter) return;
  if (!good && broken == Broken::kNot) broken = Broken::kReset;
  waiter.resume();
}

Connection::Connection(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
Connection::Connection(Connection&&) noexcept = default;
Connection& Connection::operator=(Connection&& other) noexcept {
  std::swap(impl_, other.impl_);
  return *this;
}
// NOLINTNEXTLINE(bugprone-exception-escape): shut() posts only where somebody waits, and here nobody does
Connection::~Connection() {
  if (!impl_) return;
  impl_->reader = impl_->writer = {};
  impl_->closed = {};
  impl_->deadline.reset();
  impl_->shut(Broken::kShut, false);
}

std::string_view Connection::input() const { return impl_->input(); }
void Connection::consume(std::size_t bytes) { impl_->consume(bytes); }

Connection::Fill Connection::fill() {
  Impl& impl = *impl_;
  const std::size_t before = impl.end - impl.begin;
  Fill fill{&impl, before, true};
  if (impl.broken != Broken::kNot) return fill;
  if (!impl.is_plain()) {
    impl.start_read();
    fill.over = false;
  } else if (impl.broken == Broken::kNot &&
             !(impl.may_read && impl.eager++ < Impl::kMaxEager && impl.receive())) {
    if (impl.may_read) {
      impl.loop.post([self = impl_] {
        self->eager = 0;
        self->read_on();
      });
    }
    fill.over = false;
  }
  return fill;
}
void Connection::Fill::await_suspend(std::coroutine_handle<> caller) const { impl->reader = caller; }
bool Connection::Fill::await_resume() const { return impl->end - impl->begin > before; }

Connection::Write Connection::write(std::string_view bytes) {
  const std::array<std::string_view, 1> pieces{bytes};
  return write(pieces);
}

Connection::Write Connection::write(std::span<const std::string_view> pieces) {
  Impl& impl = *impl_;
  Write write{&impl, true, false};
  if (!is_open()) return write;
  impl.unsent.clear();
  for (const std::string_view piece : pieces) {
    if (!piece.empty()) impl.unsent.push_back({const_cast<char*>(piece.data()), piece.size()});
  }
  write.good = true;
  if (impl.unsent.empty()) return write;
  if (impl.is_plain()) {
    write.good = is_open() && impl.send_some();
    if (!write.good && impl.broken == Broken::kNot) impl.broken = Broken::kReset;
    write.over = !write.good || impl.unsent.empty();
    return write;
  }
  std::vector<asio::const_buffer> buffers;
  for (const iovec& piece : impl.unsent) buffers.emplace_back(piece.iov_base, piece.iov_len);
  write.over = false;
  asio::async_write(*impl.tls, buffers,
                    [self = impl_](const error_code& error, std::size_t) { self->write_done(!error); });
  return write;
}
void Connection::Write::await_suspend(std::coroutine_handle<> caller) const { impl->writer = caller; }
bool Connection::Write::await_resume() const { return over ? good : impl->written; }

void Connection::on_close(std::function<void()> call) {
  Impl& impl = *impl_;
  impl.closed = std::move(call);
  if (!impl.closed) return;
  if (!impl.is_plain()) {
    if (impl.broken == Broken::kNot && impl.end - impl.begin < Impl::kMaxUnasked) impl.start_read();
  } else if (impl.broken == Broken::kNot && !impl.may_read) {
    return;
  }
  // Not from inside this call.
  if (impl.broken != Broken::kNot || !impl.tls) {
    impl.loop.post([self = impl_] {
      if (self->broken != Broken::kNot) return self->tell_closed();
      self->read_on();
    });
  }
}

void Connection::set_deadline(Nanoseconds at) {
  if (!impl_->deadline) {
    impl_->deadline = std::make_unique<Timer>(impl_->loop, [weak = std::weak_ptr(impl_)] {
      if (const auto impl = weak.lock()) impl->shut(Broken::kDeadline, false);
    });
  }
  impl_->deadline->set(at);
}
void Connection::clear_deadline() {
  if (impl_->deadline) impl_->deadline->clear();
}

void Connection::shut(bool reset) { impl_->shut(Broken::kShut, reset); }

Task<void> Connection::finish() {
  struct Awaiter {
    Impl* impl;
    bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> caller) {
      impl->writer = caller;
      impl->tls->async_shutdown(
          [self = impl->shared_from_this()](const error_code&) { self->write_done(true); });
    }
    void await_resume() const {}
  };
  Impl* impl = impl_.get();
  if (!impl->is_open()) co_return;
  if (impl->tls && impl->broken == Broken::kNot && !impl->reading) {
    set_deadline(impl->loop.now() + std::chrono::seconds(1));
    co_await Awaiter{impl};
  }
  error_code ignored;
  if (impl->descriptor >= 0) {
    ::shutdown(impl->descriptor, SHUT_WR);
  } else if (impl->socket.is_open()) {
    impl->socket.shutdown(Socket::shutdown_send, ignored);
  }
}

bool Connection::is_open() const {
  return impl_->is_open() && (impl_->broken == Broken::kNot || impl_->broken == Broken::kEnded);
}
Broken Connection::broken() const { return impl_->broken; }
std::string Connection::peer() const {
  const int descriptor = impl_->descriptor >= 0 ? impl_->descriptor : impl_->socket.native_handle();
  tcp::endpoint endpoint;
  auto size = static_cast<socklen_t>(endpoint.capacity());
  if (::getpeername(descriptor, endpoint.data(), &size) != 0) return "unknown";
  endpoint.resize(size);
  return fmt::format("{}:{}", endpoint.address().to_string(), endpoint.port());
}

}  // namespace moesaic::net
