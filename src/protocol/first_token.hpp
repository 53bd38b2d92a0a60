// ELDR's early first token: the prefiller samples it and the client gets it at once, before a decoder is
// chosen; the decoder continues from token ids, so that no token is made twice. Read against casys-kaist/ELDR
// of 2026 (eldr/serving/prefill_first.py): completions alone; chat, logprobs, grammars and tools are lost in
// token ids.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/result.hpp"
#include "protocol/request_body.hpp"

namespace moesaic::protocol {

/// A streamed completion of one prompt, text or token ids, whose answer is a text and nothing else.
bool can_give_first_token(const RequestBody& body);

/// To the prefiller: the client's limits stay, since they say whether the first token is the last.
LegBody first_token_body(const RequestBody& body, std::string_view transfer_id);

struct FirstToken {
  std::string event;        ///< JSON of the client's first event
  std::string usage_event;  ///< of the one with the usage, when the first token is the last
  std::string prompt_ids;   ///< JSON list: the prompt as the prefiller read it
  bool continues = true;    ///< more tokens follow, from a decoder
};
/// Errors (bad input) say what is missing or contradicts itself.
Result<FirstToken> read_first_token(std::string_view json);

/// To the decoder: the prompt's ids for its text, the prefiller's parameters byte for byte. `rank` as in
/// plain_body().
LegBody continue_body(const RequestBody& body, const FirstToken& first, std::string_view kv_transfer_params,
                      std::optional<std::uint32_t> rank = std::nullopt);

}  // namespace moesaic::protocol
