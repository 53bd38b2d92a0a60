// One item at a time into bins, without looking ahead: the best bin among those that are not too full.
#pragma once

#include <cstddef>
#include <span>

namespace moesaic::solve {

/// The bin of the highest score among those whose load is at most (1 + slack) x its share of all load +
/// grace: at least one always is. Ties go to the lower load / share, then to the lower bin. Bins of share 0
/// take nothing and count nowhere; the other shares need not add up to 1. O(bins), no allocation.
/// REQUIRES: sizes alike, a share above 0, loads >= 0, slack >= 0, grace >= 0.
std::size_t balanced_choice(std::span<const double> scores, std::span<const double> loads,
                            std::span<const double> shares, double slack, double grace);

}  // namespace moesaic::solve
