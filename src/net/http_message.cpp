#include "net/http_message.hpp"

#include <algorithm>
#include <array>
#include <charconv>

namespace moesaic::net {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

std::string percent_decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned byte = 0;
    if (text[i] == '%' && i + 2 < text.size() &&
        std::from_chars(text.data() + i + 1, text.data() + i + 3, byte, 16).ptr == text.data() + i + 3) {
      out += static_cast<char>(byte);
      i += 2;
    } else {
      out += text[i] == '+' ? ' ' : text[i];
    }
  }
  return out;
}

}  // namespace

bool same_letters(std::string_view a, std::string_view b) {
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i] != b[i] && lower(a[i]) != lower(b[i])) return false;
  }
  return true;
}

const std::string* find_header(std::span<const Header> headers, std::string_view name) {
  for (const Header& header : headers) {
    if (same_name(header.name, name)) return &header.value;
  }
  return nullptr;
}

void HeaderList::add(std::string_view name, std::string_view value) {
  if (used_ == all_.size()) all_.emplace_back();
  Header& header = all_[used_++];
  header.name = name;
  header.value = value;
}

void HeaderList::clear() {
  constexpr std::size_t kKept = 16, kKeptBytes = 128;
  if (used_ > kKept) {
    all_.resize(kKept);
    all_.shrink_to_fit();
    used_ = kKept;
  }
  for (std::size_t i = 0; i < used_; ++i) {  // by swap: an assignment would keep the memory
    if (all_[i].name.capacity() > kKeptBytes) std::string().swap(all_[i].name);
    if (all_[i].value.capacity() > kKeptBytes) std::string().swap(all_[i].value);
  }
  used_ = 0;
}

bool is_hop_by_hop(std::string_view name) {
  // By length first: every header of every message comes here.
  switch (name.size()) {
    case 2:
      return same_name(name, "te");
    case 4:
      return same_name(name, "host");
    case 6:
      return same_name(name, "expect");
    case 7:
      return same_name(name, "trailer") || same_name(name, "upgrade");
    case 10:
      return same_name(name, "connection") || same_name(name, "keep-alive");
    case 14:
      return same_name(name, "content-length");
    case 17:
      return same_name(name, "transfer-encoding");
    case 18:
      return same_name(name, "proxy-authenticate");
    case 19:
      return same_name(name, "proxy-authorization");
    default:
      return false;
  }
}

std::string_view reason_phrase(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 411:
      return "Length Required";
    case 413:
      return "Content Too Large";
    case 422:
      return "Unprocessable Content";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    default:
      return status < 400 ? "Done" : "Error";
  }
}

void append_header(std::string& out, std::string_view name, std::string_view value) {
  out += name;
  out += ": ";
  out += value;
  out += "\r\n";
}

std::string header_lines(std::span<const Header> headers) {
  std::string lines;
  for (const Header& header : headers) append_header(lines, header.name, header.value);
  return lines;
}

void append_number(std::string& out, std::uint64_t number) {
  std::array<char, 20> digits;
  out.append(digits.data(), std::to_chars(digits.begin(), digits.end(), number).ptr);
}

void append_response_head(std::string& out, int status, std::string_view lines) {
  out += "HTTP/1.1 ";
  append_number(out, static_cast<std::uint64_t>(status));
  out += ' ';
  out += reason_phrase(status);
  out += "\r\n";
  out += lines;
}

void append_request_head(std::string& out, std::string_view method, std::string_view target,
                         std::string_view host, std::string_view lines) {
  out += method;
  out += ' ';
  out += target;
  out += " HTTP/1.1\r\n";
  append_header(out, "Host", host);
  out += lines;
}

std::string_view path_of(std::string_view target) { return target.substr(0, target.find('?')); }

std::optional<std::string> query_parameter(std::string_view target, std::string_view name) {
  const std::size_t mark = target.find('?');
  if (mark == std::string_view::npos) return std::nullopt;
  std::string_view rest = target.substr(mark + 1);
  while (!rest.empty()) {
    const std::string_view pair = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(rest.size(), pair.size() + 1));
    const std::size_t equals = pair.find('=');
    if (percent_decoded(pair.substr(0, equals)) != name) continue;
    return equals == std::string_view::npos ? std::string() : percent_decoded(pair.substr(equals + 1));
  }
  return std::nullopt;
}

}  // namespace moesaic::net
