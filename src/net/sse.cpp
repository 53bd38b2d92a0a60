#include "net/sse.hpp"

#include <algorithm>

namespace moesaic::net {
namespace {

constexpr std::size_t kKeep = 16;  ///< longer than "data: [DONE]"

}  // namespace

void SseSplitter::end_line() {
  if (line_.empty()) {
    if (event_has_lines_) ++events_;
    event_has_lines_ = false;
    return;
  }
  event_has_lines_ = true;
  if (line_ == "data: [DONE]" || line_ == "data:[DONE]") saw_done_ = true;
  line_.clear();
}

std::size_t SseSplitter::feed(std::string_view piece) {
  std::size_t whole = 0, i = 0;
  while (i < piece.size()) {
    const char c = piece[i];
    if (c == '\n' && after_cr_) {  // the second half of CR LF belongs to the line before
      after_cr_ = false;
      ++i;
      if (ended_by_cr_) whole = i;
      continue;
    }
    after_cr_ = false;
    if (c == '\n' || c == '\r') {
      const bool empty = line_.empty();
      end_line();
      after_cr_ = c == '\r';
      ended_by_cr_ = empty;
      ++i;
      if (empty) whole = i;
      continue;
    }
    const std::size_t end = std::min(piece.find_first_of("\r\n", i), piece.size());
    if (line_.size() < kKeep) line_.append(piece.substr(i, std::min(end - i, kKeep - line_.size())));
    i = end;
  }
  return whole;
}

void append_event(std::string& out, std::string_view payload) {
  out += "data: ";
  out += payload;
  out += "\n\n";
}

}  // namespace moesaic::net
