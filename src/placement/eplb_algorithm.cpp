#include <algorithm>

#include "placement/algorithms.hpp"
#include "placement/eplb_problem.hpp"

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
    const std::span<const double> loads = problem.demand.loads();
    std::vector<float> weight(loads.size());
    std::ranges::transform(loads, weight.begin(), [](double load) { return static_cast<float>(load); });
    MOESAIC_ASSIGN(const eplb::Mapping mapping, eplb::rebalance(weight, eplb_shape(problem), problem.pool));
    return solution_of(problem, mapping);
  }
};

}  // namespace

const Algorithm& eplb_algorithm() {
  static const Eplb algorithm;
  return algorithm;
}

}  // namespace moesaic::placement
