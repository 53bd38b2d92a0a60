#include "placement/trtllm.hpp"

#include <algorithm>
#include <functional>
#include <numeric>
#include <queue>

#include "core/check.hpp"
#include "placement/algorithms.hpp"
#include "placement/coactivation.hpp"
#include "placement/fill.hpp"

namespace moesaic::placement {
namespace trtllm {

std::vector<std::size_t> replicate(std::span<const float> loads, std::size_t slots) {
  const std::size_t experts = loads.size();
  MOESAIC_CHECK(experts > 0 && slots >= experts);
  std::vector<std::size_t> copies(experts, 1);
  if (std::accumulate(loads.begin(), loads.end(), 0.0) == 0) {
    for (std::size_t e = 0; e < experts; ++e) copies[e] = slots / experts + (e < slots % experts ? 1 : 0);
    return copies;
  }
  std::priority_queue<std::pair<double, std::size_t>> heap;
  for (std::size_t e = 0; e < experts; ++e) heap.emplace(loads[e], e);
  for (std::size_t held = experts; held < slots; ++held) {
    const std::size_t e = heap.top().second;
    heap.pop();
    ++copies[e];
    heap.emplace(static_cast<double>(loads[e]) / static_cast<double>(copies[e]), e);
  }
  return copies;
}

void place(std::span<const float> loads, std::span<const std::size_t> copies, std::size_t ranks,
           std::span<ExpertId> slots) {
  std::ranges::fill(slots, kMissingExpert);
  place_rest(loads, copies, copies, ranks, slots);
}

void place_rest(std::span<const float> loads, std::span<const std::size_t> copies,
                std::span<const std::size_t> left, std::size_t ranks, std::span<ExpertId> slots) {
  MOESAIC_CHECK(ranks > 0 && slots.size() % ranks == 0);
  const std::size_t per_rank = slots.size() / ranks;
  const auto size = [&](std::size_t e) {
    return static_cast<double>(loads[e]) / static_cast<double>(copies[e]);
  };
  std::vector<std::size_t> order;
  for (std::size_t e = 0; e < loads.size(); ++e) order.insert(order.end(), left[e], e);
  std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) { return size(a) > size(b); });

  std::vector<std::size_t> used(ranks);
  using RankLoad = std::pair<double, std::size_t>;
  std::priority_queue<RankLoad, std::vector<RankLoad>, std::greater<>> open;
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    double load = 0;
    for (; used[rank] < per_rank && slots[rank * per_rank + used[rank]] != kMissingExpert; ++used[rank])
      load += size(index(slots[rank * per_rank + used[rank]]));
    if (used[rank] < per_rank) open.emplace(load, rank);
  }
  for (const std::size_t e : order) {
    const auto [load, rank] = open.top();
    open.pop();
    slots[rank * per_rank + used[rank]++] = ExpertId(e);
    if (used[rank] < per_rank) open.emplace(load + size(e), rank);
  }
}

}  // namespace trtllm

namespace {

class Trtllm final : public Algorithm {
 public:
  std::string_view name() const override { return "trtllm"; }
  std::string_view summary() const override {
    return "balances load: copies for the hottest experts, heaviest copy onto the lightest GPU";
  }
  std::string_view source() const override { return "TensorRT-LLM 2025, moeLoadBalancer.cpp at 0d919a4"; }
  bool needs_tokens() const override { return false; }

  Result<Solution> place(const Problem& problem) const override {
    return fill(problem, [&](std::size_t row, std::span<ExpertId> slots) -> Status {
      const std::vector<float> loads = layer_loads(problem.demand, row);
      trtllm::place(loads, trtllm::replicate(loads, slots.size()), problem.topology.gpus(), slots);
      return {};
    });
  }
};

}  // namespace

const Algorithm& trtllm_algorithm() {
  static const Trtllm algorithm;
  return algorithm;
}

}  // namespace moesaic::placement
