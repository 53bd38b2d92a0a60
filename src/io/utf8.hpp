#pragma once

#include <string_view>

namespace moesaic::io {

/// Whether `text` is valid UTF-8: what JSON, and so a name that we keep, must be.
bool is_utf8(std::string_view text);

}  // namespace moesaic::io
