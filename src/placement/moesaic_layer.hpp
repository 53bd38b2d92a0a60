// One layer of the algorithm `moesaic`: experts to nodes, then the experts of each node to its GPUs.
#pragma once

#include <cstdint>
#include <span>

#include "core/ids.hpp"
#include "placement/algorithm.hpp"

namespace moesaic::placement {

/// Largest load of a node or GPU over the mean on the planning tokens, when --max-imbalance is not given.
/// Unseen tokens come out a few hundredths above (docs/algorithms/moesaic.md).
inline constexpr double kDefaultImbalance = 1.08;

/// Fills `slots` of layer row `row` for `layer`'s tokens. Deterministic; the generator is made of
/// (problem.seed, row).
void place_layer(const Problem& problem, std::size_t row, const LayerDemand& layer,
                 std::span<ExpertId> slots);

}  // namespace moesaic::placement
