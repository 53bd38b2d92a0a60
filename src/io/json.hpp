// Reading small JSON documents (configs, plans, indexes) from foreign text.
#pragma once

#include <string>
#include <string_view>

#include "core/json.hpp"
#include "core/result.hpp"
#include "io/files.hpp"

namespace moesaic::io {

/// Parses one whole document. Errors (bad input) name `where` and the byte: bad syntax, bad UTF-8, a key
/// twice in one object, nesting deeper than limits::kMaxJsonDepth.
Result<Json> parse_json(std::string_view text, const std::string& where);

/// Reads and parses a file of at most limits::kMaxConfigBytes.
Result<Json> read_json(FileSystem& files, const std::string& path);

}  // namespace moesaic::io
