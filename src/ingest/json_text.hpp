// A glance at the start of a JSON text, for recognising formats without parsing them.
#pragma once

#include <cstddef>
#include <string_view>

namespace moesaic::ingest {

class JsonStart {
 public:
  explicit JsonStart(std::string_view text) : text_(text) {}

  /// Passes over white space, then over `c` or `word` if it is next.
  bool take(char c) {
    skip_space();
    if (text_.empty() || text_.front() != c) return false;
    text_.remove_prefix(1);
    return true;
  }
  bool take(std::string_view word) {
    skip_space();
    if (!text_.starts_with(word)) return false;
    text_.remove_prefix(word.size());
    return true;
  }
  /// Passes over decimal digits and returns how many.
  std::size_t digits() {
    std::size_t n = 0;
    while (n < text_.size() && text_[n] >= '0' && text_[n] <= '9') ++n;
    text_.remove_prefix(n);
    return n;
  }

 private:
  void skip_space() {
    const std::size_t n = text_.find_first_not_of(" \t\r\n");
    text_.remove_prefix(n == std::string_view::npos ? text_.size() : n);
  }

  std::string_view text_;
};

/// Whether `key` occurs as a quoted key, followed by a colon, in `head`.
bool has_key(std::string_view head, std::string_view key);

/// Whether the name says one JSON value a line: .jsonl or .ndjson.
inline bool is_lines(std::string_view name) { return name.ends_with(".jsonl") || name.ends_with(".ndjson"); }

}  // namespace moesaic::ingest
