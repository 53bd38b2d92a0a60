#include "placement/algorithms.hpp"
#include "placement/transfers.hpp"

namespace moesaic::placement {
namespace {

class VllmEplb final : public Algorithm {
 public:
  std::string_view name() const override { return "vllm-eplb"; }
  std::string_view summary() const override {
    return "eplb whose experts keep their slots on GPUs that hold them already (moves less, sends the same)";
  }
  std::string_view source() const override { return "vLLM 2025, slot-preserving EPLB"; }
  bool needs_tokens() const override { return false; }

  Result<Solution> place(const Problem& problem) const override {
    MOESAIC_ASSIGN(const Placement from, running_placement(problem));
    MOESAIC_ASSIGN(Solution solution, eplb_algorithm().place(problem));
    solution.placement = keep_slots(from, solution.placement);
    return solution;
  }
};

}  // namespace

const Algorithm& vllm_eplb() {
  static const VllmEplb algorithm;
  return algorithm;
}

}  // namespace moesaic::placement
