// What a client asks an emulated engine, and the answers in the OpenAI form. The text is a function of the
// prompt alone, so that whoever reads an answer can tell a token lost, doubled or foreign.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/json.hpp"
#include "core/result.hpp"
#include "protocol/request_body.hpp"

namespace moesaic::emulator {

struct Ask {
  protocol::Route route = protocol::Route::kCompletions;
  std::string id;  ///< "cmpl-..." or "chatcmpl-..."
  std::string model;
  std::uint64_t prompt_hash = 0;
  std::optional<std::uint32_t>
      recorded{};  ///< a prompt that begins with "trace:<n>" names recorded request n
  std::uint32_t prompt_tokens = 0, max_tokens = 16, choices = 1;
  bool stream = false, include_usage = false, logprobs = false;
  Json::Array prompt_ids{};  ///< the prompt as token ids, when they are asked for or were sent
  bool return_token_ids = false, special_tokens = true;
  std::string tool{};      ///< name of the function to call; empty: answer with text
  Json::Object handoff{};  ///< kv_transfer_params; empty when absent
  Json bootstrap_host{}, bootstrap_port{}, bootstrap_room{};
  std::optional<std::uint64_t> rank{};  ///< routed_dp_rank
  bool wants_experts = false;           ///< SGLang: return_routed_experts
  std::string choice_experts{};         ///< vLLM: routed_experts of the choice; "": none
};

/// Strict: what an engine would refuse is refused. Errors (bad input) name the field.
Result<Ask> read_ask(std::string_view body, protocol::Route route, const std::string& request_id);

/// Token `i` of the answer to a prompt (choice 0; others mix their number into the hash).
std::string token_text(std::uint64_t prompt_hash, std::uint32_t i);
/// The whole text of `tokens` tokens.
std::string answer_text(std::uint64_t prompt_hash, std::uint32_t tokens);
/// The id of token 0 of the answer: what an early first token is handed over by.
std::uint64_t first_token_id(std::uint64_t prompt_hash);
/// The hash that the text of a prompt (a JSON string, token list or list of messages) gives.
std::uint64_t prompt_hash(const Json& prompt);

/// One chunk of a stream with tokens [from, to) of a choice; `last` adds the finish reason.
std::string stream_chunk(const Ask& ask, std::uint32_t choice, std::uint32_t from, std::uint32_t to,
                         bool first, bool last);
std::string usage_chunk(const Ask& ask);
/// A whole answer; `extra` members are added to it, `of_choices` to each choice.
std::string whole_answer(const Ask& ask, Json::Object extra = {}, const Json::Object& of_choices = {});
/// {"error": {...}} as engines answer.
std::string error_answer(int status, std::string_view message);

}  // namespace moesaic::emulator
