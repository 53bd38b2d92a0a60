// One layer of the algorithm `moesaic`: experts to nodes, then the experts of each node to its GPUs.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/ids.hpp"
#include "placement/algorithm.hpp"
#include "placement/partition_front.hpp"

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

/// Without a limit a layer from the user, replicas or a running placement, the layers share one: the mean
/// imbalance of nodes, as unseen requests will see it (unseen_loads.hpp), is at most this much above that of
/// the most even assignments, or what the user says (Problem::mean_imbalance).
inline constexpr double kImbalanceBudget = 1.05;
bool shares_budget(const Problem& problem);

/// What a layer could be. Points [PartitionFront::kSteps]; copies < 0: no such assignment was met.
struct LayerFront {
  std::vector<std::int64_t> copies{};
  std::vector<double> imbalance{};  ///< of nodes on unseen requests
  std::vector<std::vector<std::uint16_t>> node_of_expert{};
  double evenest = 1;  ///< imbalance of the most even assignment
};
/// REQUIRES: shares_budget(problem).
LayerFront layer_front(const Problem& problem, std::size_t row, const LayerDemand& layer);

/// Fills `slots` of layer row `row` for `layer`'s tokens, with experts on the nodes given (empty: searched
/// for). Deterministic; the generator is made of (problem.seed, row).
RowCopies place_layer(const Problem& problem, std::size_t row, const LayerDemand& layer,
                      std::span<const std::uint16_t> node_of_expert, std::span<ExpertId> slots);

}  // namespace moesaic::placement
