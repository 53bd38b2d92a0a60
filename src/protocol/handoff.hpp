// How a request passes from the engine that ran its prefill to the one that decodes it: the two bodies of
// each protocol. Read against vLLM 0.10 (NIXL connector), ELDR (casys-kaist/ELDR), the Mooncake connector of
// vLLM, and SGLang's PD disaggregation (bootstrap fields), all of 2025-2026.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/config.hpp"
#include "core/result.hpp"
#include "protocol/request_body.hpp"

namespace moesaic::protocol {

enum class Handoff {
  kNone,      ///< one engine does both
  kNixl,      ///< vLLM: the prefiller's reply names the blocks, relayed verbatim to the decoder
  kEldr,      ///< as NIXL, with a transfer id of ours and the signature in the reply
  kMooncake,  ///< a transfer id of ours; the decoder fetches from the prefiller's bootstrap server
  kSglang,    ///< the same body to both at once with a bootstrap room
};
std::string_view to_string(Handoff handoff);
/// What an engine does of a request.
enum class Role { kPlain, kPrefill, kDecode };
std::string_view to_string(Role role);

/// A key of a configuration by these names; absent: kNone, kPlain. Errors (bad input) name line and key.
Result<Handoff> read_handoff(const ConfigNode& node, std::string_view key);
Result<Role> read_role(const ConfigNode& node, std::string_view key);

/// The prefill goes first and its reply is needed before the decode can start.
constexpr bool is_sequential(Handoff handoff) {
  return handoff == Handoff::kNixl || handoff == Handoff::kEldr || handoff == Handoff::kMooncake;
}

/// A request for several choices has one prefill and several decodes: no protocol hands that over.
bool can_be_split(const RequestBody& body);

/// As it goes to one engine that does both. `rank`: data-parallel rank by body field (SGLang), if any.
LegBody plain_body(const RequestBody& body, std::optional<std::uint32_t> rank = std::nullopt);

/// To the prefiller of a sequential handoff: one token, no stream. `transfer_id` is used by ELDR and
/// Mooncake. REQUIRES: is_sequential(handoff).
LegBody prefill_body(const RequestBody& body, Handoff handoff, std::string_view transfer_id);

/// Who the decoder of a Mooncake handoff turns to.
struct MooncakePeer {
  std::string engine_id, bootstrap_address;
};
/// To the decoder, with the parameters that the prefiller answered, byte for byte. `rank` as in plain_body.
LegBody decode_body(const RequestBody& body, std::string_view kv_transfer_params,
                    std::optional<std::uint32_t> rank = std::nullopt);
LegBody mooncake_decode_body(const RequestBody& body, std::string_view transfer_id, const MooncakePeer& peer,
                             std::optional<std::uint32_t> rank = std::nullopt);

/// To an engine whose answer nobody reads but for its experts: whole, one choice, at most `max_tokens`.
/// `ask_experts`: SGLang returns them only to who asks; vLLM's switch is the engine's.
LegBody shadow_body(const RequestBody& body, std::uint32_t max_tokens, bool ask_experts);

struct BootstrapRoom {
  std::string host;                   ///< of the prefiller
  std::optional<std::uint16_t> port;  ///< of its bootstrap server; null: the engine's default
  std::uint64_t room = 0;             ///< below 2^63, at random
};
/// To both engines of an SGLang pair; the rank is the decoder's alone.
LegBody sglang_body(const RequestBody& body, const BootstrapRoom& room,
                    std::optional<std::uint32_t> rank = std::nullopt);

/// What a prefiller answered.
struct PrefillReply {
  std::string kv_transfer_params;  ///< JSON text, verbatim; empty when absent or null
  std::string eldr_signature;      ///< base64, as sent; empty when absent
};
/// Errors (bad input) name the key: no JSON object, kv_transfer_params that is none. `json` needs no padding.
Result<PrefillReply> read_prefill_reply(std::string_view json);

}  // namespace moesaic::protocol
