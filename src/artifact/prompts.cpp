#include "artifact/prompts.hpp"

#include <fmt/format.h>

#include "core/limits.hpp"
#include "io/byte_stream.hpp"
#include "io/json.hpp"
#include "io/text_lines.hpp"

namespace moesaic::artifact {

Result<PromptTexts> parse_prompts(std::string_view text, const std::string& where) {
  PromptTexts out;
  io::TextLines lines(text);
  while (const auto line = lines.next()) {
    const std::string place = fmt::format("{}, line {}", where, line->number);
    MOESAIC_ASSIGN(const Json json, io::parse_json(line->text, place));
    const auto member = [&](const char* key) -> const std::string* {
      const Json* value = json.find(key);
      return value == nullptr ? nullptr : value->as_string();
    };
    const std::string *id = member("id"), *prompt = member("text");
    if (id == nullptr || prompt == nullptr || json.as_object()->size() != 2) {
      return bad_input(fmt::format(
          "{}: expected {{\"id\": \"<request id of the trace>\", \"text\": \"<prompt>\"}} and nothing else.",
          place));
    }
    if (!out.emplace(*id, *prompt).second) {
      return bad_input(fmt::format("{}: the id {} stands twice; give each request one prompt.", place, *id));
    }
  }
  return out;
}

Result<PromptTexts> read_prompts(io::FileSystem& files, const std::string& path) {
  MOESAIC_ASSIGN(const std::string text, io::read_maybe_compressed(files, path, limits::kMaxConfigBytes));
  return parse_prompts(text, path);
}

}  // namespace moesaic::artifact
