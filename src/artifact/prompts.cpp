#include "artifact/prompts.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/limits.hpp"
#include "io/byte_stream.hpp"
#include "io/json.hpp"

namespace moesaic::artifact {

Result<PromptTexts> parse_prompts(std::string_view text, const std::string& where) {
  PromptTexts out;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.find_first_not_of(" \t\r") == line.npos) continue;
    const std::string place = fmt::format("{}, line {}", where, number);
    MOESAIC_ASSIGN(const Json json, io::parse_json(line, place));
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
