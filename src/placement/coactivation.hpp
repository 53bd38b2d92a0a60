// Which experts fire together: the pairwise proxy that co-activation placements follow.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/ids.hpp"
#include "placement/algorithm.hpp"

namespace moesaic::placement {

/// [E, E], symmetric, zero diagonal: tokens that chose both experts. O(tokens x k^2).
std::vector<std::int64_t> coactivation(std::span<const ExpertId> tokens, std::size_t k, std::size_t experts);

/// Experts to nodes, then what every co-activation method here shares: copies of the hottest experts
/// (trtllm::replicate) on the lightest node that lacks the expert and has room, and inside each node the
/// copies by descending load onto the lightest GPU that has room, one without the expert first.
/// `node_of` is [E]; `copies` says how many of each and sums to the slots. REQUIRES: at most a node's slots
/// on each node. O(slots x GPUs).
void lay_out(const Problem& problem, std::span<const float> loads, std::span<const std::uint32_t> node_of,
             std::span<const std::size_t> copies, std::span<ExpertId> slots);

/// Nodes take turns; each takes the expert that fires most often with those it holds (an empty node: the
/// hottest one left). Ties: larger load, then lower index. [E], ceil or floor of E / nodes on each.
/// O(E^2).
std::vector<std::uint32_t> grow_nodes(std::span<const std::int64_t> together, std::span<const float> loads,
                                      std::size_t nodes);

/// Loads of one layer as float32, as the engines' planners see them. [E]
std::vector<float> layer_loads(const Demand& demand, std::size_t row);

}  // namespace moesaic::placement
