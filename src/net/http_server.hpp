// An HTTP/1.1 server: accepts, reads requests within limits, hands each to a handler, keeps connections
// alive, and drains. A peer that sends slowly, reads slowly or never ends its head costs one connection and
// a bounded buffer until its deadline, never more.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "net/connection.hpp"
#include "net/http_parser.hpp"

namespace moesaic::net {

struct ServerLimits {
  ParseLimits parse{};
  std::size_t max_connections = 16'384;                  ///< more are closed at once
  Nanoseconds head_timeout = std::chrono::seconds(10);   ///< from a request's first byte to its head's end
  Nanoseconds body_timeout = std::chrono::seconds(60);   ///< from there to the body's end
  Nanoseconds idle_timeout = std::chrono::seconds(75);   ///< between requests
  Nanoseconds write_timeout = std::chrono::seconds(30);  ///< a piece of an answer that the peer does not take
};

/// One request and the answer to it. Lives until the handler returns.
class Exchange {
 public:
  Exchange(Loop& loop, Connection& connection, const ServerLimits& limits)
      : loop_(loop), connection_(connection), limits_(limits) {}

  const HttpHead& head() const { return *head_; }
  std::string& body() { return body_; }
  std::string peer() const { return connection_.peer(); }
  /// See Connection::on_close: the client went away.
  void on_client_gone(std::function<void()> call) { connection_.on_close(std::move(call)); }

  /// The whole answer. False when the client went away.
  Task<bool> respond(int status, std::span<const Header> headers, std::string_view body);
  /// The same with headers as header_lines() gives them.
  Task<bool> respond_lines(int status, std::string_view lines, std::string_view body);
  /// Begins an answer in pieces: of `length` bytes in all, or chunked. The head leaves with the first piece.
  void start(int status, std::span<const Header> headers, std::optional<std::uint64_t> length) {
    start_lines(status, header_lines(headers), length);
  }
  void start_lines(int status, std::string_view lines, std::optional<std::uint64_t> length);
  /// A piece; an empty one sends what is held back.
  Task<bool> write(std::string_view piece);
  /// A piece, and the end of the answer.
  Task<bool> finish(std::string_view last = {});
  /// Bytes that are no answer. For emulators of broken peers.
  Task<bool> write_raw(std::string_view bytes);
  /// Breaks the connection so that the client cannot take the answer for whole.
  void abort();

  bool started() const { return started_; }
  bool finished() const { return finished_; }
  /// Closes the connection after this answer.
  void close_after() { close_ = true; }

 private:
  friend class HttpServer;

  Loop& loop_;
  Connection& connection_;
  const ServerLimits& limits_;
  const HttpHead* head_ = nullptr;
  std::string body_;
  std::string pending_;  ///< head that has not left
  bool started_ = false, finished_ = false, chunked_ = false, close_ = false, head_only_ = false;
  std::uint64_t left_ = 0;  ///< of an answer with a length
};

class HttpServer {
 public:
  using Handler = std::function<Task<void>(Exchange&)>;
  /// What to answer when a request cannot be read: 400, 413 or 431 with a message -> a body.
  using ErrorBody = std::function<std::string(int status, const std::string& message)>;

  /// The loop, limits and TLS context (may be nullptr) must outlive this.
  HttpServer(Loop& loop, Listener listener, const ServerLimits& limits, const TlsContext* tls,
             Handler handler, ErrorBody error_body);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  /// Starts accepting.
  void start();
  std::uint16_t port() const;
  /// No new connections; idle ones are closed, the others after the answer they wait for.
  void drain();
  /// Breaks every connection.
  void shut();
  std::size_t connections() const;
  /// A certificate for connections from now on; the old one must outlive the old connections.
  void use_tls(const TlsContext* tls);

 private:
  struct Shared;
  struct Guest;
  struct Kept;
  static Task<void> accept_loop(std::shared_ptr<Shared> shared);
  static Task<void> serve(std::shared_ptr<Shared> shared, Connection connection);
  static Task<bool> serve_one(const std::shared_ptr<Shared>& shared, Connection& connection, Guest& guest,
                              HttpParser& parser, Kept& kept);
  static Task<void> refuse(const std::shared_ptr<Shared>& shared, Connection& connection, int status,
                           const std::string& message);

  std::shared_ptr<Shared> shared_;
};

}  // namespace moesaic::net
