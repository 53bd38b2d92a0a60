#include "protocol/first_token.hpp"

#include <fmt/format.h>
#include <simdjson.h>

#include "protocol/json_text.hpp"

namespace moesaic::protocol {
namespace {

namespace dom = simdjson::dom;

void append_member(std::string& out, std::string_view name, std::string_view value) {
  if (out.size() > 1) out += ',';
  out += json_text(name);
  out += ':';
  out += value;
}

/// The choice as a client may see it.
std::string public_choice(dom::object choice, bool continues) {
  std::string out = "{";
  for (const auto& [name, value] : choice) {
    if (name == "token_ids" || name == "prompt_token_ids") continue;
    const bool ends = name == "finish_reason" || name == "stop_reason";
    append_member(out, name, continues && ends ? std::string("null") : simdjson::minify(value));
  }
  return out + "}";
}

}  // namespace

bool can_give_first_token(const RequestBody& body) {
  if (body.route != Route::kCompletions || !body.stream || !body.plain_text || body.choices != 1)
    return false;
  if (body.max_tokens == 0u || body.max_completion_tokens) return false;
  std::string_view prompt = body.prompt;
  prompt.remove_prefix(std::min(prompt.size(), prompt.find_first_not_of(" \t\r\n")));
  if (prompt.starts_with('"')) return true;
  // A list of ids is one prompt, a list of texts or of lists is several.
  return prompt.starts_with('[') && prompt.find_first_of("0123456789") != std::string_view::npos &&
         prompt.find_first_of("\"[{", 1) == std::string_view::npos;
}

LegBody first_token_body(const RequestBody& body, std::string_view transfer_id) {
  return {
      body,
      fmt::format("\"stream\":false,\"return_token_ids\":true,\"kv_transfer_params\":{{\"do_remote_decode\":"
                  "true,\"do_remote_prefill\":false,\"transfer_id\":{},\"prefill_first\":true}}",
                  json_text(transfer_id)),
      {Field::kStream, Field::kStreamOptions}};
}

LegBody continue_body(const RequestBody& body, const FirstToken& first, std::string_view kv_transfer_params,
                      std::optional<std::uint32_t> rank) {
  std::string added;
  if (rank) added = fmt::format("\"routed_dp_rank\":{},", *rank);
  added += fmt::format("\"prompt\":{},\"add_special_tokens\":false,\"kv_transfer_params\":{}",
                       first.prompt_ids, kv_transfer_params);
  return {body, std::move(added), {Field::kPrompt, Field::kPromptTokens}};
}

Result<FirstToken> read_first_token(std::string_view json) {
  const auto wrong = [](std::string_view expected) {
    return bad_input(fmt::format("the prefiller's reply with a first token: expected {}", expected));
  };
  const simdjson::padded_string padded(json);
  dom::parser parser;
  dom::object reply, transfer, choice;
  dom::array choices, tokens, prompt;
  if (parser.parse(padded).get(reply) != simdjson::SUCCESS) return wrong("a JSON object");
  if (reply["kv_transfer_params"].get(transfer) != simdjson::SUCCESS) return wrong("kv_transfer_params");
  if (reply["choices"].get(choices) != simdjson::SUCCESS || choices.size() != 1 ||
      choices.at(0).get(choice) != simdjson::SUCCESS) {
    return wrong("one choice");
  }
  std::uint64_t first = 0, only = 0, prompt_tokens = 0;
  FirstToken out;
  if (transfer["prefill_first_token_id"].get(first) != simdjson::SUCCESS ||
      choice["token_ids"].get(tokens) != simdjson::SUCCESS || tokens.size() != 1 ||
      tokens.at(0).get(only) != simdjson::SUCCESS || only != first) {
    return wrong("prefill_first_token_id, and that token alone in token_ids");
  }
  if (transfer["prefill_prompt_tokens"].get(prompt_tokens) != simdjson::SUCCESS ||
      choice["prompt_token_ids"].get(prompt) != simdjson::SUCCESS || prompt.size() != prompt_tokens ||
      prompt_tokens == 0) {
    return wrong("prompt_token_ids, as many as prefill_prompt_tokens says");
  }
  if (transfer["prefill_continues"].get(out.continues) != simdjson::SUCCESS)
    return wrong("prefill_continues");
  for (const dom::element id : prompt) {
    if (!id.is_uint64() && !id.is_int64()) return wrong("prompt_token_ids to be numbers");
  }
  out.prompt_ids = simdjson::minify(prompt);
  std::string head = "{";
  for (const auto& [name, value] : reply) {
    if (name == "kv_transfer_params" || name == "usage" || name == "choices") continue;
    append_member(head, name, simdjson::minify(value));
  }
  out.event = head;
  append_member(out.event, "choices", "[" + public_choice(choice, out.continues) + "]");
  out.event += '}';
  out.usage_event = std::move(head);
  append_member(out.usage_event, "choices", "[]");
  dom::element usage;
  if (reply["usage"].get(usage) == simdjson::SUCCESS)
    append_member(out.usage_event, "usage", simdjson::minify(usage));
  out.usage_event += '}';
  return out;
}

}  // namespace moesaic::protocol
