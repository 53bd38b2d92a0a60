// The heads of HTTP/1.1 messages (RFC 9112).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace moesaic::net {

struct Header {
  std::string name, value;
};

/// REQUIRES: equal lengths.
bool same_letters(std::string_view a, std::string_view b);
/// Without regard to case, as header names are compared.
inline bool same_name(std::string_view a, std::string_view b) {
  return a.size() == b.size() && same_letters(a, b);
}
/// A header's value; nullptr when there is none, the first when there are several.
const std::string* find_header(std::span<const Header> headers, std::string_view name);

/// The headers of one message after the other: cleared ones leave their memory, if it is little, to the next.
class HeaderList {
 public:
  void add(std::string_view name, std::string_view value);
  void clear();

  std::size_t size() const { return used_; }
  const Header* begin() const { return all_.data(); }
  const Header* end() const { return all_.data() + used_; }

 private:
  std::vector<Header> all_;
  std::size_t used_ = 0;
};

struct HttpHead {
  std::string method, target;  ///< of a request
  int status = 0;              ///< of a response
  HeaderList headers{};
  bool keep_alive = true;
  bool chunked = false;
  std::optional<std::uint64_t> content_length{};

  const std::string* find(std::string_view name) const { return find_header(headers, name); }
};

/// Headers that belong to one connection and are not passed on (RFC 9110, 7.6.1), with those that say how
/// the body is framed.
bool is_hop_by_hop(std::string_view name);

std::string_view reason_phrase(int status);

/// "name: value\r\n". REQUIRES, here and below: nothing with line breaks.
void append_header(std::string& out, std::string_view name, std::string_view value);
/// Headers as they are sent, each line ended.
std::string header_lines(std::span<const Header> headers);
void append_number(std::string& out, std::uint64_t number);

/// "HTTP/1.1 200 OK\r\n" and the headers, without the empty line at the end.
void append_response_head(std::string& out, int status, std::string_view lines);
/// The same of a request.
void append_request_head(std::string& out, std::string_view method, std::string_view target,
                         std::string_view host, std::string_view lines);

/// "/a/b?c=d" -> "/a/b".
std::string_view path_of(std::string_view target);
/// The value of a query parameter, percent-decoded; nothing when it is absent.
std::optional<std::string> query_parameter(std::string_view target, std::string_view name);

}  // namespace moesaic::net
