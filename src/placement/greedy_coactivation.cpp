#include <algorithm>

#include "placement/algorithms.hpp"
#include "placement/coactivation.hpp"
#include "placement/fill.hpp"
#include "placement/trtllm.hpp"

namespace moesaic::placement {
namespace {

class GreedyCoactivation final : public Algorithm {
 public:
  std::string_view name() const override { return "coactivation"; }
  std::string_view summary() const override {
    return "nodes take turns: each adds the expert that fires most often with those it holds";
  }
  std::string_view source() const override {
    return "the task-agnostic baseline of arXiv:2606.01007 (2026), as understood here";
  }
  bool needs_tokens() const override { return true; }

  Result<Solution> place(const Problem& problem) const override {
    const ModelShape& shape = problem.demand.shape();
    return fill(problem, [&](std::size_t row, std::span<ExpertId> slots) -> Status {
      MOESAIC_ASSIGN(const LayerDemand layer, problem.demand.layer(row));
      const std::vector<std::int64_t> together = coactivation(layer.experts, shape.top_k, shape.experts);
      const std::vector<float> loads = layer_loads(problem.demand, row);
      lay_out(problem, loads, grow_nodes(together, loads, problem.topology.nodes),
              trtllm::replicate(loads, slots.size()), slots);
      return {};
    });
  }
};

}  // namespace

std::vector<std::uint32_t> grow_nodes(std::span<const std::int64_t> together, std::span<const float> loads,
                                      std::size_t nodes) {
  const std::size_t experts = loads.size();
  const auto none = static_cast<std::uint32_t>(nodes);
  std::vector<std::uint32_t> node_of(experts, none);
  std::vector<std::int64_t> pull(nodes * experts);
  for (std::size_t placed = 0; placed < experts; ++placed) {
    const std::size_t node = placed % nodes;
    std::size_t best = experts;
    for (std::size_t e = 0; e < experts; ++e) {
      if (node_of[e] != none) continue;
      const auto key = [&](std::size_t x) { return std::pair(pull[node * experts + x], loads[x]); };
      if (best == experts || key(e) > key(best)) best = e;
    }
    node_of[best] = static_cast<std::uint32_t>(node);
    for (std::size_t e = 0; e < experts; ++e) pull[node * experts + e] += together[best * experts + e];
  }
  return node_of;
}

const Algorithm& greedy_coactivation() {
  static const GreedyCoactivation algorithm;
  return algorithm;
}

}  // namespace moesaic::placement
