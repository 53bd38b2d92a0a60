#include "emulator/ask.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "core/random.hpp"
#include "io/json.hpp"

namespace moesaic::emulator {
namespace {

using protocol::Route;

constexpr std::uint64_t kVocabulary = 50'000;

/// A list of ids stays as it is; the ids of a text are made from its hash.
Json::Array ids_of(const Json& prompt, std::uint64_t hash, std::uint32_t tokens) {
  Json::Array ids;
  if (const Json::Array* list = prompt.as_array()) {
    for (const Json& item : *list) {
      std::uint64_t id = 0;
      if (!item.to_uint(id)) return {};
    }
    return *list;
  }
  for (std::uint32_t i = 0; i < tokens; ++i) ids.push_back(Json(counter_hash({hash, i, 1}) % kVocabulary));
  return ids;
}

std::uint64_t hash_of_choice(const Ask& ask, std::uint32_t choice) {
  return choice == 0 ? ask.prompt_hash : counter_hash({ask.prompt_hash, choice});
}

tl::unexpected<Error> wrong(std::string_view field, std::string_view expected) {
  return bad_input(fmt::format("field \"{}\": expected {}", field, expected));
}

/// Reads a whole number in [min, max]; absent or null leaves `out`.
Status read_number(const Json& body, std::string_view field, std::uint64_t min, std::uint64_t max,
                   std::uint32_t& out) {
  const Json* value = body.find(field);
  if (value == nullptr || value->is_null()) return {};
  std::uint64_t number = 0;
  if (!value->to_uint(number) || number < min || number > max) {
    return wrong(field, fmt::format("a whole number from {} to {}", min, max));
  }
  out = static_cast<std::uint32_t>(number);
  return {};
}

Status read_flag(const Json& body, std::string_view field, bool& out) {
  const Json* value = body.find(field);
  if (value == nullptr || value->is_null()) return {};
  if (value->as_bool() == nullptr) return wrong(field, "true or false");
  out = *value->as_bool();
  return {};
}

std::uint32_t tokens_of(const Json& prompt) {
  if (const std::string* text = prompt.as_string()) return static_cast<std::uint32_t>(text->size() / 4 + 1);
  std::uint32_t tokens = 0;
  if (const Json::Array* list = prompt.as_array()) {
    for (const Json& item : *list) {
      const Json* content = item.find("content");
      tokens += content != nullptr ? tokens_of(*content) : item.is_string() ? tokens_of(item) : 1;
    }
  }
  return std::max(1u, tokens);
}

/// The text that may begin with "trace:<n>".
std::string_view first_text(const Json& prompt) {
  if (const std::string* text = prompt.as_string()) return *text;
  if (const Json::Array* list = prompt.as_array(); list != nullptr && !list->empty()) {
    const Json* content = list->back().find("content");
    if (content != nullptr) return first_text(*content);
  }
  return {};
}

Json head_of(const Ask& ask, std::string_view object) {
  Json json;
  json["id"] = ask.id;
  json["object"] = object;
  json["created"] = 1'700'000'000;  // the same request has the same answer
  json["model"] = ask.model;
  return json;
}

Json usage(const Ask& ask) {
  const std::uint32_t made = ask.max_tokens * ask.choices;
  Json json;
  json["prompt_tokens"] = ask.prompt_tokens;
  json["completion_tokens"] = made;
  json["total_tokens"] = ask.prompt_tokens + made;
  return json;
}

std::string text_of(const Ask& ask, std::uint32_t choice, std::uint32_t from, std::uint32_t to) {
  std::string text;
  for (std::uint32_t i = from; i < to; ++i) text += token_text(hash_of_choice(ask, choice), i);
  return text;
}

Json logprobs(const Ask& ask, std::uint32_t choice, std::uint32_t from, std::uint32_t to) {
  Json json;
  if (ask.route == Route::kChat) {
    json["content"] = Json(Json::Array{});
    for (std::uint32_t i = from; i < to; ++i) {
      Json entry;
      entry["token"] = token_text(hash_of_choice(ask, choice), i);
      entry["logprob"] = -0.5;
      entry["top_logprobs"] = Json(Json::Array{});
      json["content"].push_back(std::move(entry));
    }
  } else {
    json["tokens"] = Json(Json::Array{});
    json["token_logprobs"] = Json(Json::Array{});
    for (std::uint32_t i = from; i < to; ++i) {
      json["tokens"].push_back(token_text(hash_of_choice(ask, choice), i));
      json["token_logprobs"].push_back(-0.5);
    }
  }
  return json;
}

Json tool_call(const Ask& ask, bool in_stream) {
  Json call;
  if (in_stream) call["index"] = 0;
  call["id"] = fmt::format("call_{:016x}", ask.prompt_hash);
  call["type"] = "function";
  call["function"]["name"] = ask.tool;
  call["function"]["arguments"] = "{}";
  Json calls;
  calls.push_back(std::move(call));
  return calls;
}

}  // namespace

std::string token_text(std::uint64_t hash, std::uint32_t i) {
  return fmt::format(" {:x}", counter_hash({hash, i}) % 65'536);
}
std::string answer_text(std::uint64_t hash, std::uint32_t tokens) {
  std::string text;
  for (std::uint32_t i = 0; i < tokens; ++i) text += token_text(hash, i);
  return text;
}
std::uint64_t first_token_id(std::uint64_t hash) { return counter_hash({hash, 0}) % kVocabulary; }
std::uint64_t prompt_hash(const Json& prompt) { return hash_bytes(prompt.dump()); }

Result<Ask> read_ask(std::string_view text, Route route, const std::string& request_id) {
  MOESAIC_ASSIGN(const Json body, io::parse_json(text, "the body"));
  if (!body.is_object()) return bad_input("the body: expected a JSON object");
  const bool chat = route == Route::kChat;
  Ask ask;
  ask.route = route;
  ask.id = (chat ? "chatcmpl-" : "cmpl-") + request_id;
  const Json* prompt = body.find(chat ? "messages" : "prompt");
  if (prompt == nullptr || (chat && !prompt->is_array()) || (!prompt->is_array() && !prompt->is_string())) {
    return wrong(chat ? "messages" : "prompt", chat ? "a list of messages" : "a text or a list");
  }
  ask.prompt_hash = prompt_hash(*prompt);
  ask.prompt_tokens = tokens_of(*prompt);
  if (const std::string_view words = first_text(*prompt); words.starts_with("trace:")) {
    std::uint32_t number = 0;
    if (std::from_chars(words.data() + 6, words.data() + words.size(), number).ec == std::errc()) {
      ask.recorded = number;
    }
  }
  if (const Json* model = body.find("model"); model != nullptr && model->is_string()) {
    ask.model = *model->as_string();
  }
  MOESAIC_TRY(read_number(body, "max_tokens", 1, 1u << 20, ask.max_tokens));
  MOESAIC_TRY(read_number(body, "max_completion_tokens", 1, 1u << 20, ask.max_tokens));
  std::uint32_t min_tokens = 0;
  MOESAIC_TRY(read_number(body, "min_tokens", 0, 1u << 20, min_tokens));
  if (min_tokens > ask.max_tokens) return wrong("min_tokens", "at most max_tokens");
  MOESAIC_TRY(read_number(body, "n", 1, 128, ask.choices));
  MOESAIC_TRY(read_flag(body, "stream", ask.stream));
  if (const Json* options = body.find("stream_options"); options != nullptr && !options->is_null()) {
    if (!ask.stream) return wrong("stream_options", "to be absent without stream");
    MOESAIC_TRY(read_flag(*options, "include_usage", ask.include_usage));
  }
  if (const Json* wish = body.find("logprobs"); wish != nullptr && !wish->is_null()) {
    ask.logprobs = wish->as_bool() == nullptr || *wish->as_bool();
  }
  if (const Json* tools = body.find("tools");
      tools != nullptr && tools->as_array() && !tools->as_array()->empty()) {
    const Json* function = tools->as_array()->front().find("function");
    const Json* name = function != nullptr ? function->find("name") : nullptr;
    if (name == nullptr || !name->is_string()) return wrong("tools", "functions with a name");
    ask.tool = *name->as_string();
  }
  if (const Json* handoff = body.find("kv_transfer_params"); handoff != nullptr && !handoff->is_null()) {
    if (!handoff->is_object()) return wrong("kv_transfer_params", "an object");
    ask.handoff = *handoff->as_object();
  }
  if (const Json* rank = body.find("routed_dp_rank"); rank != nullptr && !rank->is_null()) {
    std::uint64_t number = 0;
    if (!rank->to_uint(number)) return wrong("routed_dp_rank", "a whole number");
    ask.rank = number;
  }
  MOESAIC_TRY(read_flag(body, "return_routed_experts", ask.wants_experts));
  MOESAIC_TRY(read_flag(body, "return_token_ids", ask.return_token_ids));
  MOESAIC_TRY(read_flag(body, "add_special_tokens", ask.special_tokens));
  if (ask.return_token_ids || prompt->is_array()) {
    ask.prompt_ids = ids_of(*prompt, ask.prompt_hash, ask.prompt_tokens);
  }
  const auto copy = [&](std::string_view field, Json& out) {
    if (const Json* value = body.find(field)) out = *value;
  };
  copy("bootstrap_host", ask.bootstrap_host);
  copy("bootstrap_port", ask.bootstrap_port);
  copy("bootstrap_room", ask.bootstrap_room);
  return ask;
}

std::string stream_chunk(const Ask& ask, std::uint32_t choice, std::uint32_t from, std::uint32_t to,
                         bool first, bool last) {
  const bool chat = ask.route == Route::kChat;
  Json json = head_of(ask, chat ? "chat.completion.chunk" : "text_completion");
  Json entry;
  entry["index"] = choice;
  entry["finish_reason"] = last ? Json(ask.tool.empty() ? "length" : "tool_calls") : Json();
  if (ask.logprobs) entry["logprobs"] = logprobs(ask, choice, from, to);
  if (chat) {
    entry["delta"] = Json(Json::Object{});
    if (first) entry["delta"]["role"] = "assistant";
    if (ask.tool.empty()) {
      entry["delta"]["content"] = text_of(ask, choice, from, to);
    } else if (first) {
      entry["delta"]["tool_calls"] = tool_call(ask, true);
    }
  } else {
    entry["text"] = text_of(ask, choice, from, to);
  }
  json["choices"].push_back(std::move(entry));
  return json.dump();
}

std::string usage_chunk(const Ask& ask) {
  Json json = head_of(ask, ask.route == Route::kChat ? "chat.completion.chunk" : "text_completion");
  json["choices"] = Json(Json::Array{});
  json["usage"] = usage(ask);
  return json.dump();
}

std::string whole_answer(const Ask& ask, Json::Object extra, const Json::Object& of_choices) {
  const bool chat = ask.route == Route::kChat;
  Json json = head_of(ask, chat ? "chat.completion" : "text_completion");
  for (std::uint32_t choice = 0; choice < ask.choices; ++choice) {
    Json entry;
    entry["index"] = choice;
    entry["finish_reason"] = ask.tool.empty() ? "length" : "tool_calls";
    entry["logprobs"] = ask.logprobs ? logprobs(ask, choice, 0, ask.max_tokens) : Json();
    if (!ask.choice_experts.empty()) entry["routed_experts"] = ask.choice_experts;
    if (chat) {
      entry["message"]["role"] = "assistant";
      if (ask.tool.empty()) {
        entry["message"]["content"] = text_of(ask, choice, 0, ask.max_tokens);
      } else {
        entry["message"]["content"] = Json();
        entry["message"]["tool_calls"] = tool_call(ask, false);
      }
    } else {
      entry["text"] = text_of(ask, choice, 0, ask.max_tokens);
    }
    for (const auto& [key, value] : of_choices) entry[key] = value;
    json["choices"].push_back(std::move(entry));
  }
  json["usage"] = usage(ask);
  for (auto& [key, value] : extra) json[key] = std::move(value);
  return json.dump();
}

std::string error_answer(int status, std::string_view message) {
  Json json;
  json["error"]["message"] = message;
  json["error"]["type"] = status < 500 ? "BadRequestError" : "InternalServerError";
  json["error"]["code"] = status;
  json["error"]["param"] = Json();
  return json.dump();
}

}  // namespace moesaic::emulator
