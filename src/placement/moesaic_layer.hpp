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

/// Node copies of a layer where rows are counted (per-expert mode, or one expert a token), beside the least
/// that any placement with these slots sends (bounds.hpp).
struct RowCopies {
  bool counted = false;  ///< false: connectivity, for which no bound is computed
  bool thinned = false;  ///< only a part of the tokens was searched: the figures are theirs
  std::int64_t found = 0, bound = 0;
};

/// Fills `slots` of layer row `row` for `layer`'s tokens. Deterministic; the generator is made of
/// (problem.seed, row).
RowCopies place_layer(const Problem& problem, std::size_t row, const LayerDemand& layer,
                      std::span<ExpertId> slots);

}  // namespace moesaic::placement
