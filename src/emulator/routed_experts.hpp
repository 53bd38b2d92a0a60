// The experts of every token of a recorded request, as engines return them with an answer of `completion`
// tokens: the last token is never forwarded, so there are prompt + completion - 1 rows.
#pragma once

#include <cstdint>
#include <string>

#include "simulate/recording.hpp"

namespace moesaic::emulator {

/// vLLM: base64 of an .npy of int32 [tokens, MoE layers, k]; -1 where the recording has none.
/// REQUIRES: a recording with prefill counts, a known request, completion > 0.
std::string vllm_routed_experts(const simulate::Recording& recording, std::uint32_t request,
                                std::uint32_t completion);
/// SGLang: base64 of raw int32 [tokens, layers, k], zeros in dense layers.
std::string sglang_routed_experts(const simulate::Recording& recording, std::uint32_t request,
                                  std::uint32_t completion);

}  // namespace moesaic::emulator
