// What a placement costs: copies of hidden states between nodes and GPUs, and rows on every GPU. This is
// the one reference of the objective (docs/objective.md); faster or incremental versions must equal it.
//
// dedup       a copy a distinct remote node, landing on the GPU with the home's local index; GPU copies =
//             distinct GPUs used on the home node but the home, and on each remote node but the landing
//             GPU (DeepEP normal mode).
// per-expert  a copy a row that leaves its GPU: a node copy when it leaves the node, else a GPU copy
//             (DeepEP low-latency mode).
// padded      sum over steps of N(N-1) x the step's largest node -> node count.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/ids.hpp"
#include "core/topology.hpp"
#include "dispatch/dispatch.hpp"
#include "traffic/tokens.hpp"

namespace moesaic::traffic {

struct Copies {
  std::int64_t node = 0;
  std::int64_t gpu = 0;
  std::int64_t padded_node = 0;            ///< 0 without steps
  std::vector<std::int64_t> node_to_node;  ///< [N, N], source-major
};

struct LayerTraffic {
  std::int64_t tokens = 0;
  std::int64_t rows = 0;
  Copies dedup, per_expert;
  std::vector<std::int64_t> gpu_rows;  ///< [GPUs]
  /// Over the steps that run any row: max/mean of GPU rows, one a step, in step order.
  std::vector<double> step_gpu_imbalance;
  /// Distinct (expert, GPU) pairs that a step activates, summed over steps: weights read.
  std::int64_t activated_slots = 0;
};

struct Objective {
  dispatch::Rule rule = dispatch::Rule::kLocal;
  Attention attention = Attention::kDataParallel;
  std::uint64_t seed = 0;  ///< of rule random
};

/// Scores one layer. `slots` is the layer's slot -> expert. `steps` (optional) must come from the same
/// segments. O(rows x replicas + steps x N^2); deterministic.
LayerTraffic score_layer(const LayerTokens& tokens, const Topology& topology, std::size_t experts,
                         std::span<const ExpertId> slots, const Objective& objective,
                         const Steps* steps = nullptr);

}  // namespace moesaic::traffic
