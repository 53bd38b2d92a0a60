#include "protocol/prompt_text.hpp"

#include <bitset>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <optional>

#include "core/limits.hpp"

namespace moesaic::protocol {
namespace {

class WordReader {
 public:
  WordReader(std::string_view json, std::size_t max_bytes)
      : at_(json.data()), end_(json.data() + json.size()), max_bytes_(max_bytes) {}

  std::string read() {
    std::string_view key;
    bool has_key = false, key_next = false;
    std::bitset<limits::kMaxJsonDepth> is_object;
    std::size_t depth = 0;
    while (at_ != end_ && out_.size() < max_bytes_) {
      const char c = *at_++;
      if (c == '{' || c == '[') {
        if (depth == limits::kMaxJsonDepth) break;
        is_object[depth++] = c == '{';
        key_next = c == '{';
      } else if (c == '}' || c == ']') {
        if (depth-- == 0) break;
        key_next = false;
      } else if (c == ',') {
        key_next = depth > 0 && is_object[depth - 1];
      } else if (c == '"') {
        const bool wanted = !has_key || key == "content" || key == "text";
        if (key_next) {
          key = skip_text();
          has_key = true;
          key_next = false;
        } else if (wanted) {
          take_text();
        } else {
          skip_text();
        }
      }
    }
    return std::move(out_);
  }

 private:
  /// The raw text up to the closing quote.
  std::string_view skip_text() {
    const char* const begin = at_;
    while (true) {
      const void* const quote = std::memchr(at_, '"', static_cast<std::size_t>(end_ - at_));
      if (quote == nullptr) {
        at_ = end_;
        return {begin, static_cast<std::size_t>(end_ - begin)};
      }
      const char* const found = static_cast<const char*>(quote);
      at_ = found + 1;
      const char* slash = found;
      while (slash > begin && slash[-1] == '\\') --slash;
      if ((found - slash) % 2 == 0) return {begin, static_cast<std::size_t>(found - begin)};
    }
  }

  void take_text() {
    if (!out_.empty()) out_ += '\n';
    while (at_ != end_ && *at_ != '"' && out_.size() < max_bytes_) {
      if (*at_ != '\\') {
        out_ += *at_++;
      } else if (++at_ != end_) {
        take_escape(*at_++);
      }
    }
    if (out_.size() > max_bytes_) out_.resize(max_bytes_);
    if (out_.size() < max_bytes_ && at_ != end_) ++at_;  // the quote
  }

  void take_escape(char c) {
    static constexpr std::string_view kNames = "bfnrt", kBytes = "\b\f\n\r\t";
    if (c == 'u') return take_unicode();
    const std::size_t known = kNames.find(c);
    out_ += known == std::string_view::npos ? c : kBytes[known];
  }

  std::optional<std::uint32_t> hex() {
    std::uint32_t value = 0;
    if (end_ - at_ < 4) return std::nullopt;
    if (const auto [end, error] = std::from_chars(at_, at_ + 4, value, 16); end != at_ + 4)
      return std::nullopt;
    at_ += 4;
    return value;
  }

  void take_unicode() {
    std::optional<std::uint32_t> code = hex();
    if (code && *code >= 0xD800 && *code < 0xDC00 && end_ - at_ >= 6 && at_[0] == '\\' && at_[1] == 'u') {
      at_ += 2;
      const std::optional<std::uint32_t> low = hex();
      code = low && *low >= 0xDC00 && *low < 0xE000
                 ? std::optional(0x10000 + ((*code - 0xD800) << 10) + (*low - 0xDC00))
                 : std::nullopt;
    }
    if (!code) return;
    const auto add = [&](std::uint32_t byte) { out_ += static_cast<char>(byte); };
    if (*code < 0x80) return add(*code);
    if (*code < 0x800) {
      add(0xC0 | *code >> 6);
    } else {
      if (*code < 0x10000) {
        add(0xE0 | *code >> 12);
      } else {
        add(0xF0 | *code >> 18);
        add(0x80 | (*code >> 12 & 0x3F));
      }
      add(0x80 | (*code >> 6 & 0x3F));
    }
    add(0x80 | (*code & 0x3F));
  }

  const char* at_;
  const char* end_;
  std::size_t max_bytes_;
  std::string out_;
};

}  // namespace

std::string prompt_text(std::string_view json, std::size_t max_bytes) {
  return WordReader(json, max_bytes).read();
}

}  // namespace moesaic::protocol
