// What `moesaic profile --compare A B` prints and draws.
#pragma once

#include <string>
#include <vector>

#include "profile/comparison.hpp"
#include "report/page.hpp"

namespace moesaic::app {

/// Figures side by side; those that neither trace has are left out.
report::Table comparison_table(const profile::Comparison& comparison);

/// Thresholds are in docs/profile.md.
std::vector<report::Finding> comparison_in_words(const profile::Comparison& comparison,
                                                 const profile::Profile& a, const profile::Profile& b);

report::Page comparison_page(const profile::Comparison& comparison, const profile::Profile& a,
                             const profile::Profile& b, const std::string& path_a, const std::string& path_b);

}  // namespace moesaic::app
