// The experts that an engine returns with a completion, in their three encodings, and the replies that
// carry them. Read against SGLang main of July 2026 (meta_info.routed_experts, sglext, and the newer
// input_/output_expert_ids with a schema) and vLLM 0.21 (nested lists) and later (base64 of .npy).
// Payloads come from the network: nothing is allocated beyond a small multiple of the text's length.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/ids.hpp"
#include "core/result.hpp"

namespace moesaic::protocol {

/// Ids [rows, width]; width = planes * k. -1 in the payload (a placeholder) is kMissingExpert.
struct RoutedExperts {
  std::size_t rows = 0;
  std::size_t width = 0;
  std::size_t top_k = 0;  ///< 0 = the encoding does not say how width divides into planes
  std::vector<ExpertId> ids;
};

/// base64 of raw little-endian int32, row after row. `rows` > 0 must divide what is there (REQUIRES).
/// "" gives no rows. O(text).
Result<RoutedExperts> decode_int32(std::string_view base64, std::size_t rows, const std::string& where);
/// base64 of a .npy file [rows, planes, k] of uint8, uint16, int16 or int32.
Result<RoutedExperts> decode_npy(std::string_view base64, const std::string& where);
/// JSON lists [[[id, ...k], ...planes], ...rows], all of one length each.
Result<RoutedExperts> decode_nested(std::string_view json, const std::string& where);

/// The routing of one completion (one choice of a reply).
struct ReplyRouting {
  std::string id;  ///< the engine's request id, "/<n>" after it for choice n > 0; may be ""
  RoutedExperts experts;
  std::size_t prefill_rows = 0;     ///< rows of prompt positions; the others are decode steps
  bool all_layers = false;          ///< a plane a model layer, dense ones all zero; else MoE layers only
  std::vector<LayerId> moe_layers;  ///< when the reply names them (all_layers), ascending; else empty
};

/// Routing in one reply body of SGLang (/generate or an OpenAI route) or vLLM (OpenAI routes). A reply
/// without routing, or with null in its place, gives an empty list. Errors (bad input) name `where` and
/// the key: bad JSON, rows that do not fit the token counts, ids that are no expert, an id space other
/// than logical.
Result<std::vector<ReplyRouting>> read_sglang_reply(std::string_view json, const std::string& where);
Result<std::vector<ReplyRouting>> read_vllm_reply(std::string_view json, const std::string& where);

/// No id but 0 anywhere: what a disaggregated SGLang deployment may answer (sglang issue 23885). It is no
/// routing and must be treated as absent. False when there are no ids.
bool is_all_zero(const RoutedExperts& experts);

}  // namespace moesaic::protocol
