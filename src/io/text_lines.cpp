#include "io/text_lines.hpp"

namespace moesaic::io {

std::optional<TextLine> TextLines::next() {
  while (!rest_.empty()) {
    const std::size_t end = rest_.find('\n');
    const bool cut = end == std::string_view::npos;
    const TextLine line{rest_.substr(0, end), ++number_, cut};
    rest_.remove_prefix(cut ? rest_.size() : end + 1);
    if (line.text.find_first_not_of(" \t\r") != std::string_view::npos) return line;
  }
  return std::nullopt;
}

}  // namespace moesaic::io
