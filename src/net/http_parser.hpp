// An HTTP/1.1 message as it arrives, by Boost.Beast's parser: head, then body in pieces, chunks taken apart.
// A message that two readers could frame differently (Content-Length beside Transfer-Encoding, two lengths)
// is refused.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/result.hpp"
#include "net/http_message.hpp"

namespace moesaic::net {

struct ParseLimits {
  std::uint32_t head_bytes = 32 * 1024;
  std::uint64_t body_bytes = 64ull << 20;
  std::size_t headers = 128;
};

class HttpParser {
 public:
  enum class Kind { kRequest, kResponse };
  enum class Fault { kNone, kHeadTooLarge, kBodyTooLarge, kMalformed };

  HttpParser(Kind kind, const ParseLimits& limits);
  /// For the next message of the connection; what head() gave is gone.
  void restart(const ParseLimits& limits);
  HttpParser(HttpParser&&) noexcept;
  HttpParser& operator=(HttpParser&&) noexcept;
  ~HttpParser();

  /// Reads some of `bytes`; returns how many it has used up. The rest must be given again, followed by what
  /// comes next. An error (bad input; see fault()) says what is wrong.
  Result<std::size_t> feed(std::string_view bytes);
  /// The peer will send no more: the end of a body without a length, an error elsewhere.
  Status finish();
  /// The response has no body whatever its headers say (to HEAD). Before the first feed().
  void expect_no_body();

  bool head_done() const;
  bool done() const;
  const HttpHead& head() const;
  /// Appends the body pieces that feed() found since the last call.
  void take_body(std::string& out);
  bool has_body() const;
  Fault fault() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace moesaic::net
