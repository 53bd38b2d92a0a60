// Server-sent events as the gateway relays them: whole events, byte for byte (WHATWG HTML, 9.2).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace moesaic::net {

/// Finds where events end in a stream that comes in pieces. Lines end in LF, CR LF or CR; an event ends at an
/// empty line.
class SseSplitter {
 public:
  /// Takes a piece; returns how many of its bytes belong to events that are whole with it (all bytes held
  /// before do too, when it is not 0). The caller keeps the rest.
  std::size_t feed(std::string_view piece);
  /// Some event so far was `data: [DONE]`: the stream's last word in the OpenAI protocol.
  bool saw_done() const { return saw_done_; }
  /// Whole events so far.
  std::size_t events() const { return events_; }

 private:
  void end_line();

  std::string line_;  ///< the beginning of the current line, as far as it is needed
  bool after_cr_ = false, ended_by_cr_ = false, event_has_lines_ = false, saw_done_ = false;
  std::size_t events_ = 0;
};

/// "data: <payload>\n\n". REQUIRES: payload without line breaks.
void append_event(std::string& out, std::string_view payload);

}  // namespace moesaic::net
