#include "net/connection.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/write.hpp>
#include <exception>
#include <optional>
#include <vector>

#include "core/check.hpp"
#include "net/reactor.ipp"

namespace moesaic::net {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

// On the loop's own executor: one that can be any costs every operation an indirection.
using Executor = asio::io_context::executor_type;
using Socket = asio::basic_stream_socket<tcp, Executor>;
using Acceptor = asio::basic_socket_acceptor<tcp, Executor>;
using Resolver = asio::ip::basic_resolver<tcp, Executor>;

constexpr std::size_t kSmallRead = 4096;
constexpr std::size_t kLargeRead = std::size_t{64} * 1024;
/// Input that nobody asked for yet (pipelined requests); the peer waits beyond it.
constexpr std::size_t kMaxUnasked = std::size_t{64} * 1024;

}  // namespace

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

struct TlsContext::Impl {
  explicit Impl(asio::ssl::context::method method) : context(method) {
    context.set_options(asio::ssl::context::default_workarounds | asio::ssl::context::no_tlsv1 |
                        asio::ssl::context::no_tlsv1_1 | asio::ssl::context::no_compression);
  }
  asio::ssl::context context;
  bool verify = true;  ///< of clients
};
TlsContext::TlsContext(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TlsContext::TlsContext(TlsContext&&) noexcept = default;
TlsContext& TlsContext::operator=(TlsContext&&) noexcept = default;
TlsContext::~TlsContext() = default;

Result<TlsContext> TlsContext::server(const std::string& certificate_file, const std::string& key_file) {
  auto impl = std::make_unique<Impl>(asio::ssl::context::tls_server);
  error_code error;
  impl->context.use_certificate_chain_file(certificate_file, error);
  if (error) {
    return bad_input(
        fmt::format("{}: expected a certificate in PEM form: {}", certificate_file, error.message()));
  }
  impl->context.use_private_key_file(key_file, asio::ssl::context::pem, error);
  if (error) {
    return bad_input(fmt::format("{}: expected the private key of {} in PEM form: {}", key_file,
                                 certificate_file, error.message()));
  }
  return TlsContext(std::move(impl));
}

Result<TlsContext> TlsContext::client(const std::string& ca_file, bool verify) {
  auto impl = std::make_unique<Impl>(asio::ssl::context::tls_client);
  impl->verify = verify;
  error_code error;
  if (ca_file.empty()) {
    impl->context.set_default_verify_paths(error);
    if (error) return environment_error("the system's certificate authorities: " + error.message());
  } else {
    impl->context.load_verify_file(ca_file, error);
    if (error) {
      return bad_input(fmt::format("{}: expected certificates in PEM form: {}", ca_file, error.message()));
    }
  }
  return TlsContext(std::move(impl));
}

/// Lives on while Asio holds a handler, after its Connection is gone too.
struct Connection::Impl : std::enable_shared_from_this<Connection::Impl> {
  using Tls = asio::ssl::stream<Socket&>;

  Impl(Loop& the_loop, Socket a_socket) : loop(the_loop), socket(std::move(a_socket)) {
    error_code ignored;
    socket.non_blocking(true, ignored);
    socket.set_option(tcp::no_delay(true), ignored);
  }

  std::string_view input() const { return std::string_view(buffer).substr(begin, end - begin); }

  void consume(std::size_t bytes) {
    MOESAIC_CHECK(bytes <= end - begin);
    begin += bytes;
    if (begin < end || reading) return;  // a read that is out lands behind `end`
    begin = end = 0;
    if (buffer.size() > kSmallRead) {  // an idle connection keeps little
      buffer.resize(kSmallRead);
      buffer.shrink_to_fit();
    }
  }

  void start_read() {
    if (reading || broken != Broken::kNot) return;
    if (begin > 0) {
      std::copy(buffer.begin() + static_cast<std::ptrdiff_t>(begin),
                buffer.begin() + static_cast<std::ptrdiff_t>(end), buffer.begin());
      end -= begin;
      begin = 0;
    }
    if (buffer.size() < end + read_size) buffer.resize(end + read_size);
    reading = true;
    const auto space = asio::buffer(buffer.data() + end, read_size);
    auto done = [self = shared_from_this()](const error_code& error, std::size_t bytes) {
      self->read_done(error, bytes);
    };
    if (tls) {
      tls->async_read_some(space, std::move(done));
    } else {
      socket.async_read_some(space, std::move(done));
    }
  }

  void read_done(const error_code& error, std::size_t bytes) {
    reading = false;
    end += bytes;
    read_size = bytes == read_size ? std::min(kLargeRead, 2 * read_size) : kSmallRead;
    if (error && broken == Broken::kNot) {
      const bool ended = error == asio::error::eof || error == asio::ssl::error::stream_truncated;
      broken = ended ? Broken::kEnded : Broken::kReset;
    }
    if (const auto waiter = std::exchange(reader, {})) return waiter.resume();
    if (broken != Broken::kNot) return tell_closed();
    if (closed && end - begin < kMaxUnasked) start_read();
  }

  void tell_closed() {
    if (const auto call = std::exchange(closed, {})) call();
  }

  void write_done(bool good) {
    written = good;
    if (!good && broken == Broken::kNot) broken = Broken::kReset;
    if (const auto waiter = std::exchange(writer, {})) waiter.resume();
  }

  void shut(Broken why, bool reset) {
    if (broken == Broken::kNot || broken == Broken::kEnded) broken = why;
    error_code ignored;
    if (!socket.is_open()) return;
    if (reset) socket.set_option(asio::socket_base::linger(true, 0), ignored);
    socket.close(ignored);  // handlers that wait are called with an error
  }

  Loop& loop;
  Socket socket;
  std::unique_ptr<Tls> tls;
  std::string buffer;
  std::size_t begin = 0, end = 0, read_size = kSmallRead;
  Broken broken = Broken::kNot;
  bool reading = false, written = false;
  std::coroutine_handle<> reader, writer;
  std::function<void()> closed;
  std::unique_ptr<Timer> deadline;
  std::vector<asio::const_buffer> unsent;
};

Connection::Connection(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
Connection::Connection(Connection&&) noexcept = default;
Connection& Connection::operator=(Connection&& other) noexcept {
  std::swap(impl_, other.impl_);
  return *this;
}
Connection::~Connection() {
  if (!impl_) return;
  impl_->reader = impl_->writer = {};
  impl_->closed = {};
  impl_->deadline.reset();
  impl_->shut(Broken::kShut, false);
}

std::string_view Connection::input() const { return impl_->input(); }
void Connection::consume(std::size_t bytes) { impl_->consume(bytes); }

Task<bool> Connection::fill() {
  struct Awaiter {
    Impl* impl;
    bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> caller) { impl->reader = caller; }
    void await_resume() const {}
  };
  Impl* impl = impl_.get();
  const std::size_t before = impl->end - impl->begin;
  if (impl->broken != Broken::kNot) co_return false;
  impl->start_read();
  co_await Awaiter{impl};
  co_return impl->end - impl->begin > before;
}

Task<bool> Connection::write(std::string_view bytes) {
  const std::array<std::string_view, 1> pieces{bytes};
  const bool sent = co_await write(pieces);
  co_return sent;
}

Task<bool> Connection::write(std::span<const std::string_view> pieces) {
  struct Awaiter {
    Impl* impl;
    bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> caller) {
      impl->writer = caller;
      auto done = [self = impl->shared_from_this()](const error_code& error, std::size_t) {
        self->write_done(!error);
      };
      if (impl->tls) {
        asio::async_write(*impl->tls, impl->unsent, std::move(done));
      } else {
        asio::async_write(impl->socket, impl->unsent, std::move(done));
      }
    }
    bool await_resume() const { return impl->written; }
  };
  Impl* impl = impl_.get();
  if (!is_open()) co_return false;
  impl->unsent.clear();
  std::size_t total = 0;
  for (const std::string_view piece : pieces) {
    if (piece.empty()) continue;
    impl->unsent.emplace_back(piece.data(), piece.size());
    total += piece.size();
  }
  if (total == 0) co_return true;
  if (!impl->tls) {  // most writes fit the socket's buffer: no way round through the reactor
    error_code error;
    std::size_t sent = impl->socket.write_some(impl->unsent, error);
    if (error && error != asio::error::would_block) {
      if (impl->broken == Broken::kNot) impl->broken = Broken::kReset;
      co_return false;
    }
    if (sent == total) co_return true;
    std::size_t first = 0;
    while (sent >= impl->unsent[first].size()) sent -= impl->unsent[first++].size();
    impl->unsent[first] += sent;
    impl->unsent.erase(impl->unsent.begin(), impl->unsent.begin() + static_cast<std::ptrdiff_t>(first));
  }
  const bool good = co_await Awaiter{impl};
  co_return good;
}

void Connection::on_close(std::function<void()> call) {
  impl_->closed = std::move(call);
  if (!impl_->closed) return;
  if (impl_->broken != Broken::kNot) {
    impl_->loop.post([impl = impl_] { impl->tell_closed(); });
  } else if (impl_->end - impl_->begin < kMaxUnasked) {
    impl_->start_read();
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
  if (!impl->socket.is_open()) co_return;
  if (impl->tls && impl->broken == Broken::kNot && !impl->reading) {
    set_deadline(impl->loop.now() + std::chrono::seconds(1));
    co_await Awaiter{impl};
  }
  error_code ignored;
  if (impl->socket.is_open()) impl->socket.shutdown(Socket::shutdown_send, ignored);
}

bool Connection::is_open() const {
  return impl_->socket.is_open() && (impl_->broken == Broken::kNot || impl_->broken == Broken::kEnded);
}
Broken Connection::broken() const { return impl_->broken; }
std::string Connection::peer() const {
  error_code error;
  const tcp::endpoint endpoint = impl_->socket.remote_endpoint(error);
  if (error) return "unknown";
  return fmt::format("{}:{}", endpoint.address().to_string(), endpoint.port());
}

Task<bool> Connection::accept_tls(const TlsContext& context) {
  struct Awaiter {
    Impl* impl;
    bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> caller) {
      impl->writer = caller;
      impl->tls->async_handshake(
          asio::ssl::stream_base::server,
          [self = impl->shared_from_this()](const error_code& error) { self->write_done(!error); });
    }
    bool await_resume() const { return impl->written; }
  };
  impl_->tls = std::make_unique<Impl::Tls>(impl_->socket, context.impl().context);
  const bool good = co_await Awaiter{impl_.get()};
  co_return good;
}

namespace {

/// What the certificate must say. False when OpenSSL has no memory.
bool expect_name(SSL* ssl, const std::string& name, bool verify) {
  error_code no_address;
  asio::ip::make_address(name, no_address);
  const bool is_name = no_address.failed();
  // An address is not asked for (RFC 6066, 3), only expected.
  if (is_name && SSL_set_tlsext_host_name(ssl, name.c_str()) != 1) return false;
  if (!verify) return true;
  SSL_set_verify(ssl, SSL_VERIFY_PEER, nullptr);
  SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  if (is_name) return SSL_set1_host(ssl, name.c_str()) == 1;
  return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name.c_str()) == 1;
}

}  // namespace

Task<Status> Connection::connect_tls(const TlsPeer& peer) {
  struct Awaiter {
    Impl* impl;
    error_code* error;
    bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> caller) const {
      impl->writer = caller;
      impl->tls->async_handshake(asio::ssl::stream_base::client,
                                 [self = impl->shared_from_this(), out = error](const error_code& failed) {
                                   if (self->writer) *out = failed;  // else its frame is gone
                                   self->write_done(!failed);
                                 });
    }
    void await_resume() const {}
  };
  impl_->tls = std::make_unique<Impl::Tls>(impl_->socket, peer.context->impl().context);
  SSL* const ssl = impl_->tls->native_handle();
  if (!expect_name(ssl, peer.name, peer.context->impl().verify)) {
    co_return environment_error(fmt::format("TLS with \"{}\": expected a shorter name", peer.name));
  }
  error_code error;
  const Awaiter shaken{impl_.get(), &error};
  co_await shaken;
  if (!error) co_return Status();
  std::string why = error.message();
  if (impl_->broken == Broken::kDeadline) why = "no answer in time";
  if (const long verdict = SSL_get_verify_result(ssl); verdict != X509_V_OK) {
    why = fmt::format("its certificate is not trusted: {}", X509_verify_cert_error_string(verdict));
  }
  co_return environment_error(fmt::format("TLS with \"{}\": {}", peer.name, why));
}

namespace {

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
