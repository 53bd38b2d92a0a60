// How even a set of loads is.
#pragma once

#include <cstdint>
#include <span>

namespace moesaic {

/// max / mean; 1 for an empty or all-zero set (nobody waits).
double max_over_mean(std::span<const std::int64_t> loads);

/// Jain's index (sum x)^2 / (n sum x^2) (Jain, Chiu, Hawe 1984); 1 for an empty or all-zero set.
double jain_index(std::span<const std::int64_t> loads);

}  // namespace moesaic
