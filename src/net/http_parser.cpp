#include "net/http_parser.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>
#include <optional>

namespace moesaic::net {
namespace {

namespace http = boost::beast::http;
using boost::system::error_code;

std::string_view view(boost::beast::string_view text) { return {text.data(), text.size()}; }

/// Memory for a body whose length is told, before it has come; and behind it, for a JSON parser's padding.
constexpr std::uint64_t kReserved = std::uint64_t{64} * 1024;
constexpr std::size_t kSpare = 64;

/// What the parsers of requests and of responses collect.
struct Collected {
  HttpHead head;
  std::string body;
  std::size_t max_headers = 0;
  bool head_done = false;
  bool first_chunk = false;  ///< its size was read
};

template <bool kIsRequest>
class Parser final : public http::basic_parser<kIsRequest> {
 public:
  explicit Parser(Collected& collected) : out_(collected) {}

 private:
  void on_request_impl(http::verb, boost::beast::string_view method, boost::beast::string_view target, int,
                       error_code&) override {
    out_.head.method = view(method);
    out_.head.target = view(target);
  }
  void on_response_impl(int code, boost::beast::string_view, int, error_code&) override {
    out_.head.status = code;
  }
  void on_field_impl(http::field, boost::beast::string_view name, boost::beast::string_view value,
                     error_code& error) override {
    if (out_.head_done) return;  // a trailer: nothing here needs one, and none may pass for a header
    if (out_.head.headers.size() == out_.max_headers) {
      error = http::error::header_limit;
      return;
    }
    out_.head.headers.add(view(name), view(value));
  }
  void on_header_impl(error_code&) override {
    out_.head.keep_alive = this->keep_alive();
    out_.head.chunked = this->chunked();
    if (const auto length = this->content_length()) out_.head.content_length = *length;
    out_.head_done = true;
  }
  void on_body_init_impl(const boost::optional<std::uint64_t>& length, error_code&) override {
    if (length) out_.body.reserve(static_cast<std::size_t>(std::min(*length, kReserved)) + kSpare);
  }
  std::size_t on_body_impl(boost::beast::string_view piece, error_code&) override {
    out_.body.append(piece.data(), piece.size());
    return piece.size();
  }
  void on_chunk_header_impl(std::uint64_t, boost::beast::string_view, error_code&) override {
    out_.first_chunk = true;
  }
  std::size_t on_chunk_body_impl(std::uint64_t, boost::beast::string_view piece, error_code&) override {
    out_.body.append(piece.data(), piece.size());
    return piece.size();
  }
  void on_finish_impl(error_code&) override {}

  Collected& out_;
};

}  // namespace

struct HttpParser::Impl {
  template <class F>
  auto with(F f) {
    return request ? f(*request) : f(*response);
  }

  explicit Impl(Kind the_kind) : kind(the_kind) {}

  void restart(const ParseLimits& limits) {
    HttpHead& head = collected.head;
    head.method.clear();
    head.target.clear();
    head.status = 0;
    head.headers.clear();
    head.keep_alive = true;
    head.chunked = false;
    head.content_length.reset();
    if (collected.body.capacity() > kKeptBody) std::string().swap(collected.body);
    collected.body.clear();
    collected.head_done = collected.first_chunk = false;
    collected.max_headers = limits.headers;
    fault = Fault::kNone;
    if (kind == Kind::kRequest) {
      request.emplace(collected);
    } else {
      response.emplace(collected);
    }
    with([&](auto& parser) {
      parser.eager(true);
      parser.header_limit(limits.head_bytes);
      parser.body_limit(limits.body_bytes);
    });
  }

  /// Beast, once it has seen the first chunk to be the last one ("0\r\n"), asserts that it is not called
  /// again before there are five bytes of it. No such body is shorter, and a chunk of data whose size begins
  /// with a zero has its first byte there, so nothing waits for long.
  bool waits_for_last_chunk(std::string_view rest) const {
    constexpr std::size_t kShortest = 5;  // "0\r\n\r\n"
    return collected.head_done && collected.head.chunked && !collected.first_chunk &&
           rest.size() < kShortest && rest.front() == '0';
  }

  Error error(const error_code& code) {
    fault = Fault::kMalformed;
    if (code == http::error::header_limit) fault = Fault::kHeadTooLarge;
    if (code == http::error::body_limit) fault = Fault::kBodyTooLarge;
    return {ErrorKind::kBadInput, fmt::format("the {} is no HTTP/1.1 message that is accepted here: {}",
                                              request ? "request" : "response", code.message())};
  }

  static constexpr std::size_t kKeptBody = 4096;
  Kind kind;
  Collected collected;
  std::optional<Parser<true>> request;
  std::optional<Parser<false>> response;
  Fault fault = Fault::kNone;
};

HttpParser::HttpParser(Kind kind, const ParseLimits& limits) : impl_(std::make_unique<Impl>(kind)) {
  restart(limits);
}
void HttpParser::restart(const ParseLimits& limits) { impl_->restart(limits); }
HttpParser::HttpParser(HttpParser&&) noexcept = default;
HttpParser& HttpParser::operator=(HttpParser&&) noexcept = default;
HttpParser::~HttpParser() = default;

Result<std::size_t> HttpParser::feed(std::string_view bytes) {
  std::size_t used = 0;
  error_code code;
  // Beast takes one element after the other (a line, a chunk) and says need_more when the next is not whole.
  while (!done() && used < bytes.size()) {
    if (impl_->waits_for_last_chunk(bytes.substr(used))) break;
    used += impl_->with([&](auto& parser) {
      return parser.put(boost::asio::buffer(bytes.data() + used, bytes.size() - used), code);
    });
    if (code == http::error::need_more) break;
    if (code) return tl::unexpected(impl_->error(code));
  }
  return used;
}

Status HttpParser::finish() {
  if (done()) return {};
  error_code code;
  impl_->with([&](auto& parser) {
    parser.put_eof(code);
    return 0;
  });
  if (code) return tl::unexpected(impl_->error(code));
  return {};
}

void HttpParser::expect_no_body() {
  if (impl_->response) impl_->response->skip(true);
}
bool HttpParser::head_done() const { return impl_->collected.head_done; }
bool HttpParser::done() const {
  return impl_->with([](auto& parser) { return parser.is_done(); });
}
const HttpHead& HttpParser::head() const { return impl_->collected.head; }
void HttpParser::take_body(std::string& out) {
  if (out.empty()) {
    out.swap(impl_->collected.body);
  } else {
    out += impl_->collected.body;
  }
  impl_->collected.body.clear();
}
bool HttpParser::has_body() const { return !impl_->collected.body.empty(); }
HttpParser::Fault HttpParser::fault() const { return impl_->fault; }

}  // namespace moesaic::net
