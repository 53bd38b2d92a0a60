#include "net/http_client.hpp"

#include <fmt/format.h>

#include <new>
#include <optional>
#include <vector>

#include "core/check.hpp"

namespace moesaic::net {
namespace {

CallFault fault_of(Broken broken) {
  switch (broken) {
    case Broken::kNot:
    case Broken::kEnded:
      return CallFault::kEnded;
    case Broken::kReset:
      return CallFault::kReset;
    case Broken::kDeadline:
      return CallFault::kDeadline;
    case Broken::kShut:
      return CallFault::kCancelled;
  }
  return CallFault::kReset;
}

}  // namespace

std::string_view to_string(CallFault fault) {
  switch (fault) {
    case CallFault::kNone:
      return "none";
    case CallFault::kEnded:
      return "closed before the answer was whole";
    case CallFault::kReset:
      return "connection reset";
    case CallFault::kDeadline:
      return "no answer in time";
    case CallFault::kCancelled:
      return "cancelled";
    case CallFault::kTooLarge:
      return "answer larger than allowed";
    case CallFault::kGarbage:
      return "answer is no HTTP/1.1";
  }
  return "";
}

struct HttpPool::Shared : std::enable_shared_from_this<Shared> {
  Shared(Loop& the_loop, std::string the_host, std::string header, std::uint16_t the_port,
         const ClientOptions& the_options, std::optional<TlsPeer> the_tls)
      : loop(the_loop),
        host(std::move(the_host)),
        host_header(std::move(header)),
        port(the_port),
        options(the_options),
        tls(std::move(the_tls)) {}

  /// Keeps the call's connection with all that belongs to it, or closes it.
  void put_back(std::unique_ptr<HttpCall::Impl> call);
  std::unique_ptr<HttpCall::Impl> take();

  Loop& loop;
  std::string host, host_header;
  std::uint16_t port;
  ClientOptions options;
  std::optional<TlsPeer> tls;
  std::vector<std::unique_ptr<HttpCall::Impl>> idle{};  ///< the most recently used last
  std::size_t active = 0;
};

struct HttpCall::Impl {
  Impl(std::shared_ptr<HttpPool::Shared> the_pool, Connection a_connection, HttpParser a_parser)
      : pool(std::move(the_pool)), connection(std::move(a_connection)), parser(std::move(a_parser)) {
    ++pool->active;
  }
  bool may_be_kept() const {
    return parser.done() && fault == CallFault::kNone && parser.head().keep_alive && connection.is_open() &&
           connection.broken() == Broken::kNot && connection.input().empty();
  }

  /// Reads until the parser has a head or body bytes more. False at the end or a fault.
  Task<bool> advance() {
    if (fault != CallFault::kNone || parser.done()) co_return false;
    while (true) {
      if (!connection.input().empty()) {
        answered = true;
        const bool had_head = parser.head_done();
        const Result<std::size_t> used = parser.feed(connection.input());
        if (!used) {
          fault =
              parser.fault() == HttpParser::Fault::kMalformed ? CallFault::kGarbage : CallFault::kTooLarge;
          connection.shut();
          co_return false;
        }
        connection.consume(*used);
        if (parser.done() || parser.has_body() || (parser.head_done() && !had_head)) co_return true;
      }
      const bool more = co_await connection.fill();
      if (more) continue;
      const bool clean = connection.broken() == Broken::kEnded && parser.head_done() && parser.finish();
      if (clean && parser.done()) co_return true;
      fault = fault_of(connection.broken());
      co_return false;
    }
  }

  std::shared_ptr<HttpPool::Shared> pool;  ///< of a call that is out: kept ones belong to theirs
  Connection connection;
  HttpParser parser;
  CallFault fault = CallFault::kNone;
  bool answered = false;
  bool dead = false;  ///< died while it was kept
  // Of send_lines(): their memory stays with the connection.
  std::string head;
  std::vector<std::string_view> pieces;
};

void HttpCall::Release::operator()(Impl* impl) const noexcept {
  std::unique_ptr<Impl> call(impl);
  const std::shared_ptr<HttpPool::Shared> pool = std::move(call->pool);
  --pool->active;
  try {
    if (call->may_be_kept()) pool->put_back(std::move(call));
  } catch (...) {  // NOLINT(bugprone-empty-catch): a connection that is not kept closes
  }
}

void HttpPool::Shared::put_back(std::unique_ptr<HttpCall::Impl> call) {
  constexpr std::size_t kKeptHead = 4096;
  if (idle.size() >= options.max_idle) return;
  HttpCall::Impl* const kept = call.get();
  if (kept->head.capacity() > kKeptHead) std::string().swap(kept->head);
  kept->connection.set_deadline(loop.now() + options.max_idle_time);
  // It may not die inside its own connection's callback.
  kept->connection.on_close([this, kept] {
    kept->dead = true;
    loop.post([weak = weak_from_this()] {
      const auto live = weak.lock();
      if (live) std::erase_if(live->idle, [](const auto& entry) { return entry->dead; });
    });
  });
  idle.push_back(std::move(call));
}

std::unique_ptr<HttpCall::Impl> HttpPool::Shared::take() {
  while (!idle.empty()) {
    std::unique_ptr<HttpCall::Impl> call = std::move(idle.back());
    idle.pop_back();
    if (call->dead || call->connection.broken() != Broken::kNot || !call->connection.input().empty())
      continue;
    call->connection.on_close({});
    call->connection.clear_deadline();
    call->parser.restart(options.parse);
    call->answered = false;
    call->pool = shared_from_this();
    ++active;
    return call;
  }
  return nullptr;
}

HttpPool::HttpPool(Loop& loop, std::string host, std::uint16_t port, const ClientOptions& options,
                   std::optional<TlsPeer> tls) {
  const bool v6 = host.find(':') != std::string::npos;
  std::string header = v6 ? fmt::format("[{}]:{}", host, port) : fmt::format("{}:{}", host, port);
  shared_ = std::make_shared<Shared>(loop, std::move(host), std::move(header), port, options, std::move(tls));
}
HttpPool::~HttpPool() = default;
void HttpPool::use(const ClientOptions& options) { shared_->options = options; }
const std::string& HttpPool::host_header() const { return shared_->host_header; }
std::string HttpPool::url() const {
  return fmt::format("{}://{}", shared_->tls ? "https" : "http", shared_->host_header);
}
std::size_t HttpPool::idle() const { return shared_->idle.size(); }
std::size_t HttpPool::active() const { return shared_->active; }

HttpCall::HttpCall(HttpCall&&) noexcept = default;
HttpCall& HttpCall::operator=(HttpCall&&) noexcept = default;
HttpCall::~HttpCall() = default;

std::optional<HttpCall> HttpPool::take() {
  auto kept = shared_->take();
  if (!kept) return std::nullopt;
  return HttpCall(std::move(kept));
}

Task<Result<HttpCall>> HttpPool::open() {
  const std::shared_ptr<Shared> shared = shared_;
  if (auto kept = shared->take()) co_return HttpCall(std::move(kept));
  const Nanoseconds until = shared->loop.now() + shared->options.connect_timeout;
  Result<Connection> fresh =
      co_await connect(shared->loop, shared->host, shared->port, shared->options.connect_timeout);
  if (!fresh) co_return tl::unexpected(std::move(fresh).error());
  if (shared->tls) {
    fresh->set_deadline(until);
    const Status trusted = co_await fresh->connect_tls(*shared->tls);
    if (!trusted) {
      co_return environment_error(
          fmt::format("{}:{}: {}", shared->host, shared->port, trusted.error().message));
    }
    fresh->clear_deadline();
  }
  co_return HttpCall(std::make_unique<HttpCall::Impl>(
      shared, std::move(*fresh), HttpParser(HttpParser::Kind::kResponse, shared->options.parse)));
}

Task<bool> HttpCall::send(std::string_view method, std::string_view target, std::span<const Header> headers,
                          std::span<const std::string_view> body) {
  const std::string lines = header_lines(headers);
  const bool sent = co_await send_lines(method, target, lines, body);
  co_return sent;
}

Task<bool> HttpCall::send_lines(std::string_view method, std::string_view target, std::string_view lines,
                                std::span<const std::string_view> body) {
  std::string& head = impl_->head;
  head.clear();
  append_request_head(head, method, target, impl_->pool->host_header, lines);
  std::size_t length = 0;
  for (const std::string_view piece : body) length += piece.size();
  if (length > 0 || method != "GET") {
    head += "Content-Length: ";
    append_number(head, length);
    head += "\r\n";
  }
  head += "\r\n";
  if (method == "HEAD") impl_->parser.expect_no_body();
  std::vector<std::string_view>& pieces = impl_->pieces;
  pieces.clear();
  pieces.push_back(head);
  pieces.insert(pieces.end(), body.begin(), body.end());
  const bool sent = co_await impl_->connection.write(pieces);
  if (!sent) impl_->fault = fault_of(impl_->connection.broken());
  co_return sent;
}

Task<const HttpHead*> HttpCall::head() {
  while (!impl_->parser.head_done()) {
    const bool more = co_await impl_->advance();
    if (!more) co_return nullptr;
  }
  co_return &impl_->parser.head();
}

Task<bool> HttpCall::next(std::string& piece) {
  if (!impl_->parser.has_body()) {
    const bool more = co_await impl_->advance();
    if (!more || !impl_->parser.has_body()) co_return false;
  }
  impl_->parser.take_body(piece);
  co_return true;
}

Task<bool> HttpCall::all(std::string& body, std::size_t max_bytes) {
  while (true) {
    const bool more = co_await next(body);
    if (!more) co_return done() && fault() == CallFault::kNone;
    if (body.size() > max_bytes) {
      impl_->fault = CallFault::kTooLarge;
      impl_->connection.shut();
      co_return false;
    }
  }
}

bool HttpCall::done() const { return impl_->parser.done(); }
CallFault HttpCall::fault() const { return impl_->fault; }
bool HttpCall::answered() const { return impl_->answered; }
void HttpCall::set_deadline(Nanoseconds at) { impl_->connection.set_deadline(at); }
void HttpCall::cancel() { impl_->connection.shut(); }

Task<Result<HttpAnswer>> fetch(Loop& loop, HttpPool& pool, std::string method, std::string target,
                               std::vector<Header> headers, std::string body, Nanoseconds timeout,
                               std::size_t max_bytes) {
  Result<HttpCall> call = co_await pool.open();
  if (!call) co_return tl::unexpected(std::move(call).error());
  call->set_deadline(loop.now() + timeout);
  const std::string_view piece = body;
  const bool sent = co_await call->send(method, target, headers, std::span(&piece, body.empty() ? 0 : 1));
  HttpAnswer answer;
  const HttpHead* head = nullptr;
  if (sent) head = co_await call->head();
  bool whole = false;
  if (head != nullptr) {
    answer.head = *head;
    whole = co_await call->all(answer.body, max_bytes);
  }
  if (!whole) {
    co_return environment_error(
        fmt::format("{} {}{}: {}", method, pool.url(), target, to_string(call->fault())));
  }
  co_return answer;
}

}  // namespace moesaic::net
