// The lines of a text of records, one a line (.jsonl, .ndjson).
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace moesaic::io {

struct TextLine {
  std::string_view text;   ///< without its line feed
  std::size_t number = 0;  ///< from 1, blank lines counted
  bool cut = false;        ///< the text ends without a line feed behind it: maybe half a record
};

/// REQUIRES: the text outlives this.
class TextLines {
 public:
  explicit TextLines(std::string_view text) : rest_(text) {}

  /// The next line with anything but spaces, tabs and carriage returns in it; none at the end. O(its length).
  std::optional<TextLine> next();

 private:
  std::string_view rest_;
  std::size_t number_ = 0;
};

}  // namespace moesaic::io
