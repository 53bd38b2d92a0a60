#include <vector>

#include "placement/algorithms.hpp"
#include "placement/fill.hpp"

namespace moesaic::placement {
namespace {

/// Expert e on GPU e mod GPUs. Extra slots repeat the experts from 0; a copy goes to the next GPU that has
/// room and no copy yet, or room alone when all have one.
void deal(std::span<ExpertId> slots, std::size_t gpus, std::size_t experts) {
  const std::size_t per_gpu = slots.size() / gpus;
  std::vector<std::size_t> used(gpus);
  const auto holds = [&](std::size_t gpu, ExpertId expert) {
    for (std::size_t i = 0; i < used[gpu]; ++i) {
      if (slots[gpu * per_gpu + i] == expert) return true;
    }
    return false;
  };
  for (std::size_t i = 0; i < slots.size(); ++i) {
    const auto expert = ExpertId(i % experts);
    std::size_t chosen = gpus;
    for (std::size_t step = 0; step < gpus; ++step) {
      const std::size_t gpu = (i + step) % gpus;
      if (used[gpu] == per_gpu) continue;
      if (chosen == gpus) chosen = gpu;
      if (holds(gpu, expert)) continue;
      chosen = gpu;
      break;
    }
    slots[chosen * per_gpu + used[chosen]++] = expert;
  }
}

class RoundRobin final : public Algorithm {
 public:
  std::string_view name() const override { return "round-robin"; }
  std::string_view summary() const override {
    return "expert e on GPU e mod GPUs; copies on the next GPUs with room";
  }
  std::string_view source() const override { return "vLLM, expert placement strategy round_robin"; }
  bool needs_tokens() const override { return false; }

  Result<Solution> place(const Problem& problem) const override {
    const std::size_t experts = problem.demand.shape().experts;
    return fill(problem, [&](std::size_t, std::span<ExpertId> slots) -> Status {
      deal(slots, problem.topology.gpus(), experts);
      return {};
    });
  }
};

}  // namespace

const Algorithm& round_robin() {
  static const RoundRobin algorithm;
  return algorithm;
}

}  // namespace moesaic::placement
