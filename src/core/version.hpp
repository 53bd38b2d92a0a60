#pragma once

#include <string_view>

namespace moesaic {

/// Version of this build, as in `moesaic --version`.
std::string_view version();

}  // namespace moesaic
