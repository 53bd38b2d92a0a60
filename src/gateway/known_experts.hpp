// The experts of one request, token by token, out of an engine's reply: what is recorded and learnt from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "core/ids.hpp"
#include "core/model_shape.hpp"
#include "gateway/signature_cache.hpp"

namespace moesaic::gateway {

struct KnownExperts {
  std::uint32_t prefill_tokens = 0, decode_tokens = 0;
  std::vector<ExpertId>
      experts{};  ///< [prefill + decode, MoE layers, k]; kMissingExpert where the engine had none
};

/// A reply of vLLM or SGLang with the routed experts of one choice. Nothing when there are none, they are all
/// zero (sglang issue 23885), or they do not fit `shape`: other layers or top-k, an id beyond its experts.
/// O(reply); memory a small multiple of it.
std::optional<KnownExperts> experts_of_reply(std::string_view reply, const ModelShape& shape);

/// Counts [MoE layers, E] of the prompt's tokens, or of the others; rows without any expert count no token.
/// Nothing without tokens.
std::optional<Usage> prefill_usage(const KnownExperts& known, const ModelShape& shape);
std::optional<Usage> decode_usage(const KnownExperts& known, const ModelShape& shape);

}  // namespace moesaic::gateway
