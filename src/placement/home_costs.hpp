// What every request would send from every home under a placement: the cost matrix of the balanced
// assignment that gives requests their homes against the placement (solve::transport), the other half of
// the alternation placement -> homes -> placement.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/ids.hpp"
#include "core/topology.hpp"
#include "traffic/score.hpp"
#include "traffic/tokens.hpp"

namespace moesaic::placement {

struct HomeCosts {
  std::size_t homes = 0;                  ///< topology.homes(attention)
  std::vector<std::int64_t> node_copies;  ///< [segments, homes]
  std::vector<std::int64_t> gpu_copies;   ///< [segments, homes]
};

/// Copies of every segment of one layer, were its home each home in turn; the homes the segments carry are
/// not looked at. Equals traffic::score_layer of the segment alone (so trtllm's counters start at 0 in each
/// segment). `per_expert` counts rows instead of distinct nodes and GPUs. O(rows + segments x homes) where
/// every expert has one slot, else O(rows x homes x replicas). Deterministic; thread-safe.
HomeCosts home_costs(const traffic::LayerTokens& tokens, const Topology& topology, std::size_t experts,
                     std::span<const ExpertId> slots, const traffic::Objective& objective, bool per_expert);

/// Sums layers. REQUIRES: the same segments and homes; an empty `sum` takes the shape of `layer`.
void add(HomeCosts& sum, const HomeCosts& layer);

}  // namespace moesaic::placement
