#include "protocol/request_body.hpp"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>

namespace moesaic::protocol {
namespace {

namespace ondemand = simdjson::ondemand;

constexpr std::size_t kMaxMembers = 1024, kUsualMembers = 16;

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

Field field_of(std::string_view name, Route route) {
  if (name == "model") return Field::kModel;
  if (name == (route == Route::kChat ? "messages" : "prompt")) return Field::kPrompt;
  if (name == "stream") return Field::kStream;
  if (name == "stream_options") return Field::kStreamOptions;
  if (name == "n" || name == "best_of") return Field::kN;
  if (name == "max_tokens") return Field::kMaxTokens;
  if (name == "max_completion_tokens") return Field::kMaxCompletionTokens;
  if (name == "min_tokens") return Field::kMinTokens;
  if (name == "add_special_tokens" || name == "truncate_prompt_tokens") return Field::kPromptTokens;
  if (name == "kv_transfer_params" || name.starts_with("bootstrap_") ||
      name.starts_with("data_parallel_rank") || name.find("dp_rank") != std::string_view::npos) {
    return Field::kReserved;
  }
  return Field::kOther;
}

/// Fields that make an answer more than a text, or the text more than a continuation.
bool is_more_than_text(std::string_view name) {
  constexpr std::string_view kNames[] = {"logprobs",
                                         "prompt_logprobs",
                                         "echo",
                                         "suffix",
                                         "use_beam_search",
                                         "prompt_embeds",
                                         "structured_outputs",
                                         "response_format",
                                         "thinking_token_budget",
                                         "tools",
                                         "tool_choice",
                                         "return_token_ids",
                                         "logits_processors",
                                         "return_tokens_as_token_ids"};
  return name.starts_with("guided_") ||
         std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}

/// Neither absent, null nor false.
bool is_set(ondemand::value value) {
  bool null = false, flag = true;
  if (value.is_null().get(null) == simdjson::SUCCESS && null) return false;
  return value.get_bool().get(flag) != simdjson::SUCCESS || flag;
}

tl::unexpected<Error> wrong(std::string_view field, std::string_view expected) {
  return bad_input(fmt::format("field \"{}\": expected {}", field, expected));
}

Status read_count(std::string_view name, ondemand::value value, std::optional<std::uint64_t>& out) {
  bool null = false;
  if (value.is_null().get(null)) return wrong(name, "a whole number or null");
  if (null) return {};
  std::uint64_t count = 0;
  if (value.get_uint64().get(count) != simdjson::SUCCESS) return wrong(name, "a whole number or null");
  out = count;
  return {};
}

Status read_flag(std::string_view name, ondemand::value value, bool& out) {
  bool null = false;
  if (value.is_null().get(null)) return wrong(name, "true, false or null");
  if (null) return {};
  if (value.get_bool().get(out) != simdjson::SUCCESS) return wrong(name, "true, false or null");
  return {};
}

Status read_stream_options(ondemand::value value, RequestBody& body) {
  bool null = false;
  if (value.is_null().get(null)) return wrong("stream_options", "an object or null");
  if (null) return {};
  ondemand::object options;
  if (value.get_object().get(options) != simdjson::SUCCESS)
    return wrong("stream_options", "an object or null");
  for (auto option : options) {
    std::string_view name;
    ondemand::value inner;
    if (option.unescaped_key().get(name) != simdjson::SUCCESS ||
        option.value().get(inner) != simdjson::SUCCESS) {
      return wrong("stream_options", "an object or null");
    }
    if (name == "include_usage") {
      MOESAIC_TRY(read_flag("stream_options.include_usage", inner, body.include_usage));
    } else {
      body.plain_text = body.plain_text && !is_set(inner);
    }
  }
  return {};
}

Status read_field(Field field, std::string_view name, ondemand::value value, RequestBody& body) {
  switch (field) {
    case Field::kModel: {
      std::string_view model;
      if (value.get_string().get(model) != simdjson::SUCCESS) return wrong(name, "a string");
      body.model = model;
      return {};
    }
    case Field::kStream:
      return read_flag(name, value, body.stream);
    case Field::kStreamOptions:
      return read_stream_options(value, body);
    case Field::kN: {
      std::optional<std::uint64_t> count;
      MOESAIC_TRY(read_count(name, value, count));
      body.choices = std::max(body.choices, count.value_or(1));
      return {};
    }
    case Field::kMaxTokens:
      return read_count(name, value, body.max_tokens);
    case Field::kMaxCompletionTokens:
      return read_count(name, value, body.max_completion_tokens);
    case Field::kMinTokens:
      return read_count(name, value, body.min_tokens);
    case Field::kReserved:
      body.reserved.emplace_back(name);
      return {};
    case Field::kOther:
      if (is_more_than_text(name) && is_set(value)) body.plain_text = false;
      return {};
    case Field::kPrompt:
    case Field::kPromptTokens:
      return {};
  }
  return {};
}

/// Where the text before the next key, or before the closing brace, ends when blanks and the comma go.
std::string_view without_tail(const char* begin, const char* next) {
  while (next > begin && is_space(next[-1])) --next;
  if (next > begin && next[-1] == ',') {
    --next;
    while (next > begin && is_space(next[-1])) --next;
  }
  return {begin, static_cast<std::size_t>(next - begin)};
}

}  // namespace

struct RequestReader::Impl {
  ondemand::parser parser;
  std::vector<const char*> keys;
};
RequestReader::RequestReader() : impl_(std::make_unique<Impl>()) {}
RequestReader::~RequestReader() = default;

Result<RequestBody> RequestReader::read(std::string& body, Route route) {
  body.reserve(body.size() + simdjson::SIMDJSON_PADDING);
  RequestBody out;
  out.route = route;
  const auto syntax = [](simdjson::error_code error) {
    return bad_input(fmt::format("the body: expected one JSON object; the JSON parser says: {}",
                                 simdjson::error_message(error)));
  };
  ondemand::document document;
  if (auto error = impl_->parser.iterate(body.data(), body.size(), body.capacity()).get(document))
    return syntax(error);
  ondemand::object object;
  if (auto error = document.get_object().get(object)) return syntax(error);
  std::vector<const char*>& keys = impl_->keys;
  keys.clear();
  out.members.reserve(kUsualMembers);
  for (auto entry : object) {
    ondemand::raw_json_string raw;
    if (auto error = entry.key().get(raw)) return syntax(error);
    std::string_view name;
    if (auto error = entry.unescaped_key().get(name)) return syntax(error);
    ondemand::value value;
    if (auto error = entry.value().get(value)) return syntax(error);
    if (keys.size() == kMaxMembers) {
      return bad_input(fmt::format("the body: expected at most {} fields", kMaxMembers));
    }
    const Field field = field_of(name, route);
    keys.push_back(raw.raw() - 1);
    out.members.push_back({field, {}});
    MOESAIC_TRY(read_field(field, name, value, out));
  }
  const char* end = body.data() + body.size();
  while (end > body.data() && is_space(end[-1])) --end;
  if (document.current_location().error() != simdjson::OUT_OF_BOUNDS || end == body.data() ||
      end[-1] != '}') {
    return bad_input("the body: expected one JSON object and nothing after it");
  }
  --end;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    out.members[i].text = without_tail(keys[i], i + 1 < keys.size() ? keys[i + 1] : end);
    if (out.members[i].field != Field::kPrompt) continue;
    const std::string_view text = out.members[i].text;
    const std::size_t colon = text.find(':', text.find('"', 1));
    out.prompt = colon == std::string_view::npos ? text : text.substr(colon + 1);
  }
  if (out.prompt.empty()) return wrong(route == Route::kChat ? "messages" : "prompt", "to be present");
  return out;
}

LegBody::LegBody(const RequestBody& body, std::string added, std::initializer_list<Field> without)
    : added_("{" + std::move(added)) {
  bool first = added_.size() == 1;
  pieces_.reserve(8);
  pieces_.push_back(added_);
  for (const RequestBody::Member& member : body.members) {
    if (member.field == Field::kReserved ||
        std::find(without.begin(), without.end(), member.field) != without.end()) {
      continue;
    }
    // Neighbours in the client's body stay one piece, comma and blanks between them included.
    std::string_view& last = pieces_.back();
    if (pieces_.size() > 1 && member.text.data() >= last.data() + last.size() &&
        std::all_of(last.data() + last.size(), member.text.data(),
                    [](char c) { return c == ',' || is_space(c); })) {
      last = {last.data(), static_cast<std::size_t>(member.text.data() + member.text.size() - last.data())};
      continue;
    }
    if (!first) pieces_.push_back(",");
    first = false;
    pieces_.push_back(member.text);
  }
  pieces_.push_back("}");
}

std::string LegBody::text() const {
  std::string out;
  for (const std::string_view piece : pieces_) out += piece;
  return out;
}

}  // namespace moesaic::protocol
