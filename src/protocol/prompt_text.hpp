// The words of a prompt, out of the JSON text that a request holds it in, for whatever learns from words
// (signature/prompt_model.hpp). The body is not parsed anew: reading stops when enough words are there.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace moesaic::protocol {

/// `json` is RequestBody::prompt. A text gives itself; a list of texts, or the contents of a chat's messages
/// (their parts of text, if they have parts) are joined by newlines; token ids, images and tool calls give
/// nothing. At most `max_bytes`, cut where they end, even inside a character. Text that is no JSON gives what
/// was read before that shows. O(words read + what lies between them).
std::string prompt_text(std::string_view json, std::size_t max_bytes);

}  // namespace moesaic::protocol
