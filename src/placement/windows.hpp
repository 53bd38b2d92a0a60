// Loads by window: what algorithms that look at how load moves over time are told.
#pragma once

#include <cstddef>
#include <vector>

#include "placement/algorithm.hpp"

namespace moesaic::placement {

struct WindowLoads {
  std::size_t windows = 0;
  std::vector<float> rows;  ///< [windows, L, E]
};

/// The planning requests in order, cut into `windows` stretches of equally many tokens (a request counts
/// where its first token falls); one window, the demand's loads, where there are no tokens. Reads every
/// layer once. O(rows + windows x L x E); deterministic.
Result<WindowLoads> window_loads(const Demand& demand, std::size_t windows = 16);

}  // namespace moesaic::placement
