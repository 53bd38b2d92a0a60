// A string as JSON text.
#pragma once

#include <string>
#include <string_view>

#include "core/json.hpp"

namespace moesaic::protocol {

/// In quotes, escaped.
inline std::string json_text(std::string_view text) { return Json(text).dump(); }

}  // namespace moesaic::protocol
