// What a connection is made of, for connection.cpp, listener.cpp and tls.cpp alone.
#pragma once

#include <sys/uio.h>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <string>
#include <vector>

#include "net/connection.hpp"
#include "net/poller.hpp"
#include "net/reactor.ipp"

namespace moesaic::net {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

// On the loop's own executor: one that can be any costs every operation an indirection.
using Socket = asio::basic_stream_socket<tcp, asio::io_context::executor_type>;

struct TlsContext::Impl {
  explicit Impl(asio::ssl::context::method method) : context(method) {
    context.set_options(asio::ssl::context::default_workarounds | asio::ssl::context::no_tlsv1 |
                        asio::ssl::context::no_tlsv1_1 | asio::ssl::context::no_compression);
  }
  asio::ssl::context context;
  bool verify = true;  ///< of clients
};
/// A plain connection's socket is Asio's until the first byte, then ours alone, told by the loop's Poller.
/// One with TLS stays Asio's, which may hold a handler, and with it this, after its Connection is gone.
struct Connection::Impl final : Poller::Watcher, std::enable_shared_from_this<Connection::Impl> {
  using Tls = asio::ssl::stream<Socket&>;

  Impl(Loop& the_loop, Socket a_socket);

  std::string_view input() const { return std::string_view(buffer).substr(begin, end - begin); }
  void consume(std::size_t bytes);
  bool is_open() const { return descriptor >= 0 || socket.is_open(); }
  void shut(Broken why, bool reset);
  void tell_closed();

  // connection.cpp: plain
  /// True: there is no TLS, and the socket is ours, if it is open.
  bool is_plain();
  void ready(std::uint32_t events) override;
  /// For a read behind what has come already.
  void make_room();
  /// Reads what is there; true when something came or the connection broke.
  bool receive();
  /// Reads on for whoever waits for input.
  void read_on();
  /// Reads what nobody asked for, to learn when the peer closes.
  void watch_close();
  /// Sends of `unsent` what the socket takes. False: the connection broke.
  bool send_some();

  // connection.cpp: over TLS
  void start_read();
  void read_done(const error_code& error, std::size_t bytes);
  void write_done(bool good);

  static constexpr std::size_t kSmallRead = 4096, kLargeRead = std::size_t{64} * 1024;
  /// Input that nobody asked for yet (pipelined requests); the peer waits beyond it.
  static constexpr std::size_t kMaxUnasked = std::size_t{64} * 1024;
  /// Reads in a row that do not wait: then others have their turn.
  static constexpr int kMaxEager = 16;

  Loop& loop;
  Socket socket;
  int descriptor = -1;   ///< of a plain connection
  bool may_read = true;  ///< of a plain connection: a read may find something
  bool ended = false;    ///< of a plain connection: the peer's end is behind the input
  int eager = 0;         ///< reads since it last waited
  std::unique_ptr<Tls> tls;
  std::string buffer;
  std::size_t begin = 0, end = 0, read_size = kSmallRead;
  Broken broken = Broken::kNot;
  bool reading = false;  ///< a read over TLS is out: it lands behind `end`
  bool written = false;
  std::coroutine_handle<> reader, writer;
  std::function<void()> closed;
  std::unique_ptr<Timer> deadline;
  std::vector<iovec> unsent;
};

}  // namespace moesaic::net
