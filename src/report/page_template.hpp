// The page template, as npm built it from web/.
#pragma once

#include <string_view>

namespace moesaic::report {

/// Empty when the build had no npm, or npm failed.
std::string_view page_template();

/// What in the template gives way to the data.
inline constexpr std::string_view kDataMark = "\"moesaic-page-data\"";

}  // namespace moesaic::report
