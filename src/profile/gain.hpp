// What is to be gained, before any planner has run: figures that are reached by something simple, and
// figures that nothing can pass. Each says which of the two it is.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "profile/domains.hpp"

namespace moesaic::profile {

/// Extra slots as a share of the experts: none, +25 %, +50 %, +100 %.
inline constexpr double kReplicaShares[] = {0, 0.25, 0.5, 1};

/// Even GPUs, by placement and replicas. All are max/mean over GPUs, mean over layers.
struct BalanceGain {
  double extra = 0;  ///< asked share of extra slots
  std::size_t slots_per_gpu = 0;
  double bound = 0;      ///< proven: no plan with these slots is more even on this traffic
  double in_sample = 0;  ///< reached by a quick plan on the traffic it was made on
  double held_out = 0;  ///< reached on the later half of the windows, planned on the earlier; NaN: one window
};
struct Balance {
  std::size_t gpus = 1;
  double contiguous = 0;  ///< of the contiguous layout, today's default
  std::vector<BalanceGain> steps;
};
Balance balance_gain(const Loads& windows, std::size_t gpus);

/// Rows that stay on their node, by grouping requests and placing experts by group. All are shares of
/// rows that leave their node, mean over layers.
struct GroupGain {
  double extra = 0;
  std::size_t capacity = 0;  ///< experts a node holds
  double bound = 0;  ///< proven for the sampled requests: a request keeps at best its own most used experts
  double group_bound = 0;  ///< proven for these groups: each node holds its group's most used experts
  double held_out = 0;     ///< reached: groups of requests, experts placed on one half, scored on the other
};
struct Grouping {
  std::size_t nodes = 1;
  double random = 0;  ///< expected of any layout without copies under random homes: 1 - 1/nodes
  std::vector<GroupGain> steps;
};

/// Experts a node of `nodes` holds with `extra` more slots.
std::size_t node_capacity(std::size_t experts, std::size_t nodes, double extra);

/// One layer: rows of each group [groups, E] to place experts by, and to score. Shares of rows that leave.
struct LayerGroupGain {
  double group_bound = 0, reached = 0;
};
LayerGroupGain group_gain(std::span<const double> placed_on, std::span<const double> scored_on,
                          std::size_t groups, std::size_t capacity);

}  // namespace moesaic::profile
