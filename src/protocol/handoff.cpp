#include "protocol/handoff.hpp"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>

#include "core/check.hpp"
#include "protocol/json_text.hpp"

namespace moesaic::protocol {
namespace {

namespace ondemand = simdjson::ondemand;

/// `members`, and the rank's when there is one.
std::string with_rank(std::string members, std::optional<std::uint32_t> rank) {
  if (!rank) return members;
  return fmt::format("\"routed_dp_rank\":{}{}{}", *rank, members.empty() ? "" : ",", members);
}

}  // namespace

std::string_view to_string(Handoff handoff) {
  switch (handoff) {
    case Handoff::kNone:
      return "plain";
    case Handoff::kNixl:
      return "nixl";
    case Handoff::kEldr:
      return "eldr";
    case Handoff::kMooncake:
      return "mooncake";
    case Handoff::kSglang:
      return "sglang";
  }
  return "";
}

std::string_view to_string(Role role) {
  switch (role) {
    case Role::kPlain:
      return "plain";
    case Role::kPrefill:
      return "prefill";
    case Role::kDecode:
      return "decode";
  }
  return "";
}

Result<Handoff> read_handoff(const ConfigNode& node, std::string_view key) {
  MOESAIC_ASSIGN(const std::size_t choice,
                 node.choice_or(key, 0, {"plain", "nixl", "eldr", "mooncake", "sglang"}));
  return static_cast<Handoff>(choice);
}
Result<Role> read_role(const ConfigNode& node, std::string_view key) {
  MOESAIC_ASSIGN(const std::size_t choice, node.choice_or(key, 0, {"plain", "prefill", "decode"}));
  return static_cast<Role>(choice);
}

bool can_be_split(const RequestBody& body) { return body.choices == 1; }

LegBody plain_body(const RequestBody& body, std::optional<std::uint32_t> rank) {
  return {body, with_rank("", rank), {}};
}

LegBody prefill_body(const RequestBody& body, Handoff handoff, std::string_view transfer_id) {
  MOESAIC_CHECK(is_sequential(handoff));
  std::string added = "\"max_tokens\":1,\"stream\":false";
  if (body.max_completion_tokens) added += ",\"max_completion_tokens\":1";
  // Engines refuse min_tokens above max_tokens.
  if (body.min_tokens)
    added += fmt::format(",\"min_tokens\":{}", std::min<std::uint64_t>(1, *body.min_tokens));
  switch (handoff) {
    case Handoff::kNixl:
      added +=
          ",\"kv_transfer_params\":{\"do_remote_decode\":true,\"do_remote_prefill\":false,"
          "\"remote_engine_id\":null,\"remote_block_ids\":null,\"remote_host\":null,\"remote_port\":null}";
      break;
    default:
      if (handoff == Handoff::kEldr) added += ",\"return_token_ids\":true";
      added += fmt::format(
          ",\"kv_transfer_params\":{{\"do_remote_decode\":true,\"do_remote_prefill\":false,"
          "\"transfer_id\":{}}}",
          json_text(transfer_id));
      break;
  }
  return {body,
          std::move(added),
          {Field::kMaxTokens, Field::kMaxCompletionTokens, Field::kMinTokens, Field::kStream,
           Field::kStreamOptions}};
}

LegBody decode_body(const RequestBody& body, std::string_view kv_transfer_params,
                    std::optional<std::uint32_t> rank) {
  return {body, with_rank(fmt::format("\"kv_transfer_params\":{}", kv_transfer_params), rank), {}};
}

LegBody mooncake_decode_body(const RequestBody& body, std::string_view transfer_id, const MooncakePeer& peer,
                             std::optional<std::uint32_t> rank) {
  std::string members = fmt::format(
      "\"kv_transfer_params\":{{\"do_remote_decode\":false,\"do_remote_prefill\":true,"
      "\"transfer_id\":{},\"remote_engine_id\":{},\"remote_bootstrap_addr\":{}}}",
      json_text(transfer_id), json_text(peer.engine_id), json_text(peer.bootstrap_address));
  return {body, with_rank(std::move(members), rank), {}};
}

LegBody shadow_body(const RequestBody& body, std::uint32_t max_tokens, bool ask_experts) {
  std::string added = fmt::format("\"max_tokens\":{},\"stream\":false",
                                  std::min<std::uint64_t>(max_tokens, body.output_limit(max_tokens)));
  if (ask_experts) added += ",\"return_routed_experts\":true";
  return {body,
          std::move(added),
          {Field::kMaxTokens, Field::kMaxCompletionTokens, Field::kMinTokens, Field::kStream,
           Field::kStreamOptions, Field::kN}};
}

LegBody sglang_body(const RequestBody& body, const BootstrapRoom& room, std::optional<std::uint32_t> rank) {
  std::string members =
      fmt::format("\"bootstrap_host\":{},\"bootstrap_port\":{},\"bootstrap_room\":{}", json_text(room.host),
                  room.port ? std::to_string(*room.port) : std::string("null"), room.room);
  return {body, with_rank(std::move(members), rank), {}};
}

Result<PrefillReply> read_prefill_reply(std::string_view json) {
  const simdjson::padded_string padded(json);
  ondemand::parser parser;
  const auto syntax = [](simdjson::error_code error) {
    return bad_input(fmt::format("the prefiller's reply: expected one JSON object; the JSON parser says: {}",
                                 simdjson::error_message(error)));
  };
  ondemand::document document;
  if (auto error = parser.iterate(padded).get(document)) return syntax(error);
  ondemand::object object;
  if (auto error = document.get_object().get(object)) return syntax(error);
  PrefillReply reply;
  for (auto entry : object) {
    std::string_view name;
    if (auto error = entry.unescaped_key().get(name)) return syntax(error);
    ondemand::value value;
    if (auto error = entry.value().get(value)) return syntax(error);
    if (name != "kv_transfer_params") continue;
    bool null = false;
    if (auto error = value.is_null().get(null)) return syntax(error);
    if (null) continue;
    const auto no_object = [] {
      return bad_input("the prefiller's reply: key \"kv_transfer_params\": expected an object or null");
    };
    ondemand::object parameters;
    if (value.get_object().get(parameters) != simdjson::SUCCESS) return no_object();
    std::string_view text;
    if (parameters.raw_json().get(text) != simdjson::SUCCESS) return no_object();
    reply.kv_transfer_params = text;
  }
  if (document.current_location().error() != simdjson::OUT_OF_BOUNDS)
    return bad_input("the prefiller's reply: expected nothing after its JSON object");
  if (reply.kv_transfer_params.empty()) return reply;
  // raw_json() has only found where the object ends: what is relayed must also be JSON.
  const simdjson::padded_string inner(reply.kv_transfer_params);
  simdjson::dom::parser strict;
  simdjson::dom::element parameters;
  if (auto error = strict.parse(inner).get(parameters)) return syntax(error);
  std::string_view signature;
  if (parameters["eldr_sig"].get(signature) == simdjson::SUCCESS) reply.eldr_signature = signature;
  return reply;
}

}  // namespace moesaic::protocol
