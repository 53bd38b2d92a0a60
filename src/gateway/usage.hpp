// Expert counts out of what a prefiller answers.
#pragma once

#include <optional>
#include <string_view>

#include "gateway/signature_cache.hpp"
#include "gateway/state.hpp"

namespace moesaic::gateway {

/// ELDR's eldr_sig: base64 of little-endian int16 [L, E]. Nothing when it has another size than `shape`, is
/// no base64, or a count is negative (it has wrapped). Tokens: the largest sum of a layer over top-k is not
/// known, so the prompt's own estimate is taken.
std::optional<Usage> usage_of_eldr_signature(std::string_view base64, const UsageShape& shape,
                                             std::uint32_t prompt_tokens);

/// The routed experts of a vLLM reply: rows of the prompt (or all rows, where they are not told apart).
/// Nothing when there are none, they are all zero, or they do not fit `shape`.
std::optional<Usage> usage_of_routed_experts(std::string_view reply, const UsageShape& shape);

}  // namespace moesaic::gateway
