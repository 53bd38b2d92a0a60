// What every algorithm does at its end: fill the slots of each layer, in parallel, and check the result.
#pragma once

#include <functional>
#include <span>

#include "placement/algorithm.hpp"

namespace moesaic::placement {

/// Calls body(row) for every layer of this rank's share, on the problem's pool; the error of the first layer
/// that has one.
Status each_layer(const Problem& problem, const std::function<Status(std::size_t row)>& body);

/// Calls fill_layer(row, slots) for every layer of this rank's share, on the problem's pool, and makes the
/// placement of what all ranks wrote. Layers must not depend on each other.
Result<Solution> fill(const Problem& problem,
                      const std::function<Status(std::size_t row, std::span<ExpertId> slots)>& fill_layer);

}  // namespace moesaic::placement
