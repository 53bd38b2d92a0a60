// Prompt texts of recorded requests, beside the trace: stores hold no text. JSON lines,
// {"id": "<request id of the trace>", "text": "<prompt>"}, plain or compressed; the file is read for a fit
// and kept nowhere.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "core/result.hpp"
#include "io/files.hpp"

namespace moesaic::artifact {

using PromptTexts = std::map<std::string, std::string, std::less<>>;

/// Errors (bad input) name `where` and the line: no JSON object, id or text missing or no string, another
/// key, an id twice. Empty lines are passed over.
Result<PromptTexts> parse_prompts(std::string_view text, const std::string& where);

/// Reads a file that holds at most limits::kMaxConfigBytes.
Result<PromptTexts> read_prompts(io::FileSystem& files, const std::string& path);

}  // namespace moesaic::artifact
