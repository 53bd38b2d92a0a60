// Expert counts out of what an ELDR prefiller answers; engines that return every token's experts:
// known_experts.hpp.
#pragma once

#include <optional>
#include <string_view>

#include "gateway/signature_cache.hpp"
#include "gateway/state.hpp"

namespace moesaic::gateway {

/// ELDR's eldr_sig: base64 of little-endian int16 [L, E]. Nothing when it has another size than `shape`, is
/// no base64, or a count is negative (it has wrapped). Tokens: the largest sum of a layer / top_k; where
/// `shape` does not say top_k, the estimate `prompt_tokens`.
std::optional<Usage> usage_of_eldr_signature(std::string_view base64, const UsageShape& shape,
                                             std::uint32_t prompt_tokens);

}  // namespace moesaic::gateway
