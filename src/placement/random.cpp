#include "core/random.hpp"

#include <algorithm>
#include <numeric>
#include <vector>

#include "placement/algorithms.hpp"
#include "placement/fill.hpp"

namespace moesaic::placement {
namespace {

/// Every expert once; extra slots go to random distinct experts, round after round. The experts with most
/// copies choose first, each the GPUs with most room (ties at random), so copies share a GPU only when
/// there are more copies than GPUs. Without extra slots this is a uniformly random partition.
void draw(std::span<ExpertId> slots, std::size_t gpus, std::size_t experts, Pcg32& random) {
  const std::size_t per_gpu = slots.size() / gpus;
  std::vector<std::uint32_t> order(experts);
  std::vector<std::size_t> copies(experts, 1);
  std::iota(order.begin(), order.end(), 0u);
  for (std::size_t left = slots.size() - experts; left > 0;) {
    shuffle(std::span(order), random);
    for (std::size_t i = 0; i < experts && left > 0; ++i, --left) ++copies[order[i]];
  }
  shuffle(std::span(order), random);
  std::ranges::stable_sort(order, std::greater{}, [&](std::uint32_t expert) { return copies[expert]; });

  std::vector<std::size_t> used(gpus);
  std::vector<std::uint32_t> by_room(gpus);
  std::iota(by_room.begin(), by_room.end(), 0u);
  for (const std::uint32_t expert : order) {
    for (std::size_t left = copies[expert]; left > 0;) {
      shuffle(std::span(by_room), random);
      std::ranges::stable_sort(by_room, std::less{}, [&](std::uint32_t gpu) { return used[gpu]; });
      for (const std::uint32_t gpu : by_room) {
        if (left == 0 || used[gpu] == per_gpu) break;
        slots[gpu * per_gpu + used[gpu]++] = ExpertId(expert);
        --left;
      }
    }
  }
}

class Random final : public Algorithm {
 public:
  std::string_view name() const override { return "random"; }
  std::string_view summary() const override { return "a seeded random layout: what chance gives"; }
  std::string_view source() const override { return "baseline"; }
  bool needs_tokens() const override { return false; }

  Result<Solution> place(const Problem& problem) const override {
    const std::size_t experts = problem.demand.shape().experts;
    return fill(problem, [&](std::size_t row, std::span<ExpertId> slots) -> Status {
      Pcg32 random(problem.seed, row);
      draw(slots, problem.topology.gpus(), experts, random);
      return {};
    });
  }
};

}  // namespace

const Algorithm& random_placement() {
  static const Random algorithm;
  return algorithm;
}

}  // namespace moesaic::placement
