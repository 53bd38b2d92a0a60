#include "net/http_server.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <list>

#include "core/check.hpp"

namespace moesaic::net {

/// A connection that is being served.
struct HttpServer::Guest {
  Connection* connection;
  bool idle = true;
};

/// Memory that stays with a connection from one request to the next, if it is little.
struct HttpServer::Kept {
  std::string body, pending;

  static void take_back(std::string& used, std::string& kept) {
    constexpr std::size_t kMost = 4096;
    if (used.capacity() > kMost) return;
    used.clear();
    used.swap(kept);
  }
};

struct HttpServer::Shared {
  Shared(Loop& the_loop, Listener a_listener, const ServerLimits& the_limits)
      : loop(the_loop), listener(std::move(a_listener)), limits(the_limits) {}
  Loop& loop;
  Listener listener;
  const ServerLimits& limits;
  const TlsContext* tls = nullptr;
  Handler handler;
  ErrorBody error_body;
  std::list<Guest> guests;
  bool draining = false;
};

Task<bool> Exchange::respond(int status, std::span<const Header> headers, std::string_view body) {
  start(status, headers, body.size());
  return finish(body);
}
Task<bool> Exchange::respond_lines(int status, std::string_view lines, std::string_view body) {
  start_lines(status, lines, body.size());
  return finish(body);
}

void Exchange::start_lines(int status, std::string_view lines, std::optional<std::uint64_t> length) {
  MOESAIC_CHECK(!started_);
  started_ = true;
  chunked_ = !length;
  left_ = length.value_or(0);
  pending_.reserve(lines.size() + 128);
  append_response_head(pending_, status, lines);
  if (chunked_) {
    pending_ += "Transfer-Encoding: chunked\r\n";
  } else {
    pending_ += "Content-Length: ";
    append_number(pending_, *length);
    pending_ += "\r\n";
  }
  pending_ += close_ ? "Connection: close\r\n\r\n" : "\r\n";
}

Task<bool> Exchange::write(std::string_view piece) {
  MOESAIC_CHECK(started_ && !finished_);
  if (head_only_) piece = {};
  std::array<std::string_view, 4> pieces{pending_, {}, piece, {}};
  char size[20];
  if (chunked_ && !piece.empty()) {
    const auto end = fmt::format_to(size, "{:x}\r\n", piece.size());
    pieces[1] = std::string_view(size, static_cast<std::size_t>(end - size));
    pieces[3] = "\r\n";
  } else if (!head_only_) {
    MOESAIC_CHECK(piece.size() <= left_ || piece.empty());
    left_ -= piece.size();
  }
  connection_.set_deadline(loop_.now() + limits_.write_timeout);
  const bool sent = co_await connection_.write(pieces);
  connection_.clear_deadline();
  pending_.clear();
  co_return sent;
}

Task<bool> Exchange::finish(std::string_view last) {
  MOESAIC_CHECK(started_ && !finished_);
  finished_ = true;
  if (head_only_) last = {};
  std::array<std::string_view, 4> pieces{pending_, {}, last, {}};
  char size[20];
  if (chunked_ && !head_only_) {
    pieces[3] = "0\r\n\r\n";
    if (!last.empty()) {
      const auto end = fmt::format_to(size, "{:x}\r\n", last.size());
      pieces[1] = std::string_view(size, static_cast<std::size_t>(end - size));
      pieces[3] = "\r\n0\r\n\r\n";
    }
  } else if (!head_only_) {
    MOESAIC_CHECK(last.size() == left_);
  }
  connection_.set_deadline(loop_.now() + limits_.write_timeout);
  const bool sent = co_await connection_.write(pieces);
  connection_.clear_deadline();
  co_return sent;
}

Task<bool> Exchange::write_raw(std::string_view bytes) {
  started_ = true;
  connection_.set_deadline(loop_.now() + limits_.write_timeout);
  const bool sent = co_await connection_.write(bytes);
  co_return sent;
}

void Exchange::abort() {
  finished_ = started_ = true;
  close_ = true;
  connection_.shut(true);
}

HttpServer::HttpServer(Loop& loop, Listener listener, const ServerLimits& limits, const TlsContext* tls,
                       Handler handler, ErrorBody error_body)
    : shared_(std::make_shared<Shared>(loop, std::move(listener), limits)) {
  shared_->tls = tls;
  shared_->handler = std::move(handler);
  shared_->error_body = std::move(error_body);
}
// NOLINTNEXTLINE(bugprone-exception-escape): out of memory alone, and then the program ends
HttpServer::~HttpServer() { shut(); }

void HttpServer::start() { shared_->loop.spawn(accept_loop(shared_)); }
std::uint16_t HttpServer::port() const { return shared_->listener.port(); }
std::size_t HttpServer::connections() const { return shared_->guests.size(); }
void HttpServer::use_tls(const TlsContext* tls) { shared_->tls = tls; }

void HttpServer::drain() {
  shared_->draining = true;
  shared_->listener.close();
  for (Guest& guest : shared_->guests) {
    if (guest.idle) guest.connection->shut();
  }
}
void HttpServer::shut() {
  shared_->draining = true;
  shared_->listener.close();
  for (Guest& guest : shared_->guests) guest.connection->shut(true);
}

Task<void> HttpServer::accept_loop(std::shared_ptr<Shared> shared) {
  while (shared->listener.is_open()) {
    Result<Connection> accepted = co_await shared->listener.accept();
    if (!accepted) {  // out of descriptors, mostly: others must end first
      if (!shared->listener.is_open()) co_return;
      co_await shared->loop.sleep(std::chrono::milliseconds(50));
      continue;
    }
    if (shared->guests.size() >= shared->limits.max_connections) continue;
    shared->loop.spawn(serve(shared, std::move(*accepted)));
  }
}

Task<void> HttpServer::serve(std::shared_ptr<Shared> shared, Connection connection) {
  const auto guest = shared->guests.insert(shared->guests.end(), Guest{&connection});
  struct Leave {
    Shared& shared;
    std::list<Guest>::iterator guest;
    ~Leave() { shared.guests.erase(guest); }
  };
  const Leave leave{*shared, guest};
  bool good = true;
  if (shared->tls != nullptr) {
    connection.set_deadline(shared->loop.now() + shared->limits.head_timeout);
    good = co_await connection.accept_tls(*shared->tls);
  }
  HttpParser parser(HttpParser::Kind::kRequest, shared->limits.parse);
  Kept kept;
  while (good) good = co_await serve_one(shared, connection, *guest, parser, kept);
  co_await connection.finish();
}

Task<void> HttpServer::refuse(const std::shared_ptr<Shared>& shared, Connection& connection, int status,
                              const std::string& message) {
  const std::string body = shared->error_body(status, message);
  std::string answer;
  const std::array<Header, 2> headers{Header{"Content-Type", "application/json"},
                                      Header{"Connection", "close"}};
  append_response_head(answer, status, header_lines(headers));
  fmt::format_to(std::back_inserter(answer), "Content-Length: {}\r\n\r\n{}", body.size(), body);
  connection.set_deadline(shared->loop.now() + shared->limits.write_timeout);
  if (!co_await connection.write(answer)) co_return;
  // What is still on its way is read and dropped for a moment: a reset would take the answer back.
  co_await connection.finish();
  connection.set_deadline(shared->loop.now() + std::chrono::seconds(1));
  for (std::size_t dropped = 0; dropped < (std::size_t{4} << 20);) {
    dropped += connection.input().size();
    connection.consume(connection.input().size());
    if (!co_await connection.fill()) co_return;
  }
}

Task<bool> HttpServer::serve_one(const std::shared_ptr<Shared>& shared, Connection& connection, Guest& guest,
                                 HttpParser& parser, Kept& kept) {
  Loop& loop = shared->loop;
  const ServerLimits& limits = shared->limits;
  guest.idle = true;
  if (connection.input().empty()) {
    if (shared->draining) co_return false;
    connection.set_deadline(loop.now() + limits.idle_timeout);
    if (!co_await connection.fill()) co_return false;
  }
  guest.idle = false;
  parser.restart(limits.parse);
  Exchange exchange(loop, connection, limits);
  exchange.body_.swap(kept.body);
  exchange.pending_.swap(kept.pending);
  connection.set_deadline(loop.now() + limits.head_timeout);
  bool in_body = false;
  while (true) {
    const Result<std::size_t> used = parser.feed(connection.input());
    if (!used) {
      const auto fault = parser.fault();
      const int status = fault == HttpParser::Fault::kHeadTooLarge   ? 431
                         : fault == HttpParser::Fault::kBodyTooLarge ? 413
                                                                     : 400;
      co_await refuse(shared, connection, status, used.error().message);
      co_return false;
    }
    connection.consume(*used);
    if (parser.done()) break;
    if (parser.head_done() && !in_body) {
      in_body = true;
      const HttpHead& head = parser.head();
      connection.set_deadline(loop.now() + limits.body_timeout);
      const std::string* expect = head.find("expect");
      if (expect != nullptr && same_name(*expect, "100-continue")) {
        if (!co_await connection.write("HTTP/1.1 100 Continue\r\n\r\n")) co_return false;
      }
    }
    if (!co_await connection.fill()) co_return false;
  }
  parser.take_body(exchange.body_);
  connection.clear_deadline();
  exchange.head_ = &parser.head();
  exchange.close_ = !parser.head().keep_alive || shared->draining;
  exchange.head_only_ = parser.head().method == "HEAD";
  co_await shared->handler(exchange);
  connection.on_close({});
  if (!exchange.finished_) exchange.abort();
  kept.take_back(exchange.body_, kept.body);
  kept.take_back(exchange.pending_, kept.pending);
  co_return connection.is_open() && !exchange.close_ && !shared->draining;
}

}  // namespace moesaic::net
