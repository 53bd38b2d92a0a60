// HTTP messages and event streams, whole and cut at a place the input chooses: the cut must change nothing.
#include "core/check.hpp"
#include "net/http_parser.hpp"
#include "net/sse.hpp"

namespace {

using moesaic::net::HttpParser;

struct Read {
  bool good = true, done = false;
  std::string body;
  int status = 0;
};

Read read(HttpParser::Kind kind, std::string_view first, std::string_view second) {
  HttpParser parser(kind, {.head_bytes = 4096, .body_bytes = 65'536, .headers = 32});
  Read out;
  std::string held;
  for (const std::string_view piece : {first, second}) {
    held += piece;
    const auto used = parser.feed(held);
    if (!used) {
      out.good = false;
      return out;
    }
    held.erase(0, *used);
  }
  parser.take_body(out.body);
  out.done = parser.done();
  if (parser.head_done()) out.status = parser.head().status;  // of half a head nobody asks
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 3) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 3, size - 3);
  const std::size_t cut = text.empty() ? 0 : (std::size_t{data[1]} << 8 | data[2]) % (text.size() + 1);
  const auto kind = data[0] % 2 == 0 ? HttpParser::Kind::kRequest : HttpParser::Kind::kResponse;
  const Read whole = read(kind, text, ""), halves = read(kind, text.substr(0, cut), text.substr(cut));
  if (whole.good && halves.good) {
    MOESAIC_CHECK(whole.done == halves.done && whole.body == halves.body && whole.status == halves.status);
  }

  moesaic::net::SseSplitter one, two;
  const std::size_t end = one.feed(text);
  std::size_t end_of_two = two.feed(text.substr(0, cut));
  const std::size_t more = two.feed(text.substr(cut));
  if (more > 0) end_of_two = cut + more;
  MOESAIC_CHECK(end == end_of_two && one.events() == two.events() && one.saw_done() == two.saw_done());
  return 0;
}
