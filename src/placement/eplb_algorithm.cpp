#include <fmt/format.h>

#include <algorithm>

#include "placement/algorithms.hpp"
#include "placement/eplb.hpp"
#include "placement/fill.hpp"

namespace moesaic::placement {
namespace {

class Eplb final : public Algorithm {
 public:
  std::string_view name() const override { return "eplb"; }
  std::string_view summary() const override {
    return "balances load: replicates the hottest experts, packs them onto the lightest GPUs";
  }
  std::string_view source() const override { return "DeepSeek 2025, EPLB (github.com/deepseek-ai/EPLB)"; }
  bool needs_tokens() const override { return false; }

  Result<Solution> place(const Problem& problem) const override {
    const ModelShape& model = problem.demand.shape();
    const std::span<const double> loads = problem.demand.loads();
    const eplb::Shape shape{.layers = model.layers.size(),
                            .experts = model.experts,
                            .replicas = problem.topology.gpus() * problem.slots_per_gpu,
                            .groups = problem.expert_groups,
                            .nodes = problem.topology.nodes,
                            .gpus = problem.topology.gpus()};
    std::vector<float> weight(loads.size());
    std::ranges::transform(loads, weight.begin(), [](double load) { return static_cast<float>(load); });
    MOESAIC_ASSIGN(const eplb::Mapping mapping, eplb::rebalance(weight, shape, problem.pool));
    MOESAIC_ASSIGN(Solution solution,
                   fill(problem, [&](std::size_t row, std::span<ExpertId> slots) -> Status {
                     for (std::size_t slot = 0; slot < slots.size(); ++slot) {
                       slots[slot] = ExpertId(mapping.phy2log[row * slots.size() + slot]);
                     }
                     return {};
                   }));
    if (!shape.hierarchical() && shape.groups > 1) {
      solution.notes.push_back(
          fmt::format("EPLB used its global policy because {} expert groups do not divide over {} nodes.",
                      shape.groups, shape.nodes));
    }
    return solution;
  }
};

}  // namespace

const Algorithm& eplb_algorithm() {
  static const Eplb algorithm;
  return algorithm;
}

}  // namespace moesaic::placement
