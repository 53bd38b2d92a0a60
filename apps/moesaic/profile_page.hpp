// The page of `moesaic profile --html`.
#pragma once

#include "profile/profile.hpp"
#include "report/page.hpp"

namespace moesaic::app {

report::Page profile_page(const profile::Profile& profile, const std::string& trace);

/// Loads of a phase by domain, worst layer and means over layers: a table of terminal and page alike.
report::Table loads_table(const profile::Profile& profile);

}  // namespace moesaic::app
