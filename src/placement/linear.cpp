#include <algorithm>

#include "placement/algorithms.hpp"
#include "placement/fill.hpp"

namespace moesaic::placement {
namespace {

class Linear final : public Algorithm {
 public:
  std::string_view name() const override { return "linear"; }
  std::string_view summary() const override {
    return "experts in id order over the GPUs; extra slots repeat from expert 0";
  }
  std::string_view source() const override { return "the default of vLLM, SGLang and TensorRT-LLM"; }
  bool needs_tokens() const override { return false; }

  Result<Solution> place(const Problem& problem) const override {
    const std::size_t experts = problem.demand.shape().experts;
    return fill(problem, [&](std::size_t, std::span<ExpertId> slots) -> Status {
      for (std::size_t slot = 0; slot < slots.size(); ++slot) slots[slot] = ExpertId(slot % experts);
      return {};
    });
  }
};

}  // namespace

const Algorithm& linear() {
  static const Linear algorithm;
  return algorithm;
}

}  // namespace moesaic::placement
