#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "placement/algorithms.hpp"
#include "placement/coactivation.hpp"
#include "placement/fill.hpp"
#include "placement/transfers.hpp"

namespace moesaic::placement {
namespace {

constexpr double kLeastGain = 0.01;      // of a swap, on the heavier GPU's load
constexpr double kEvenEnough = 1.01;     // max/mean below which a layer is left alone
constexpr double kLeastDecrease = 0.95;  // sum over layers of the largest load, after / before

/// Loads of the GPUs when copies of an expert share its load evenly.
class GpuLoads {
 public:
  GpuLoads(std::span<const float> loads, std::size_t gpus, std::span<const ExpertId> slots)
      : share_(loads.begin(), loads.end()), load_(gpus) {
    std::vector<double> copies(loads.size());
    for (const ExpertId e : slots) copies[index(e)] += 1;
    for (std::size_t e = 0; e < share_.size(); ++e) share_[e] /= copies[e];
    const std::size_t per_gpu = slots.size() / gpus;
    for (std::size_t s = 0; s < slots.size(); ++s) load_[s / per_gpu] += share_[index(slots[s])];
  }
  double share(ExpertId e) const { return share_[index(e)]; }
  std::vector<double>& of_gpu() { return load_; }
  double largest() const { return std::ranges::max(load_); }
  double mean() const {
    return std::accumulate(load_.begin(), load_.end(), 0.0) / static_cast<double>(load_.size());
  }

 private:
  std::vector<double> share_, load_;
};

class Swift final : public Algorithm {
 public:
  std::string_view name() const override { return "swift"; }
  std::string_view summary() const override {
    return "changes a running placement by few swaps between heavy and light GPUs, one a GPU pair";
  }
  std::string_view source() const override { return "vllm-ascend 2025, SwiftBalancer, in its manner"; }
  bool needs_tokens() const override { return false; }

  Result<Solution> place(const Problem& problem) const override {
    MOESAIC_ASSIGN(const Placement start, running_placement(problem));
    const std::size_t gpus = problem.topology.gpus(), per_gpu = problem.slots_per_gpu;
    MOESAIC_ASSIGN(Solution solution,
                   fill(problem, [&](std::size_t row, std::span<ExpertId> slots) -> Status {
                     std::ranges::copy(start.layer(row), slots.begin());
                     GpuLoads loads(layer_loads(problem.demand, row), gpus, slots);
                     swap_while_it_helps(loads, gpus, per_gpu, slots);
                     return {};
                   }));
    const double was = sum_of_largest(problem, start), is = sum_of_largest(problem, solution.placement);
    if (is >= kLeastDecrease * was) {
      solution.placement = start;
      solution.notes.push_back(fmt::format(
          "swift kept the running placement: its swaps would lower the sum of the layers' largest loads "
          "by {:.1f} %, less than {:.0f} %.",
          was > 0 ? 100 * (1 - is / was) : 0.0, 100 * (1 - kLeastDecrease)));
    }
    return solution;
  }

 private:
  /// Of all layers: a rank that shares the problem has changed some of them only.
  static double sum_of_largest(const Problem& problem, const Placement& placement) {
    double sum = 0;
    for (std::size_t row = 0; row < placement.layers().size(); ++row) {
      sum +=
          GpuLoads(layer_loads(problem.demand, row), problem.topology.gpus(), placement.layer(row)).largest();
    }
    return sum;
  }

  static void swap_while_it_helps(GpuLoads& loads, std::size_t gpus, std::size_t per_gpu,
                                  std::span<ExpertId> slots) {
    std::vector<double>& load = loads.of_gpu();
    std::set<std::pair<std::size_t, std::size_t>> used;
    while (loads.largest() >= kEvenEnough * loads.mean()) {
      const auto heavy = static_cast<std::size_t>(std::ranges::max_element(load) - load.begin());
      std::vector<std::size_t> light(gpus);
      std::iota(light.begin(), light.end(), std::size_t{0});
      std::ranges::stable_sort(light, [&](std::size_t a, std::size_t b) { return load[a] < load[b]; });
      bool swapped = false;
      for (const std::size_t other : light) {
        if (other == heavy || used.contains(std::minmax(heavy, other))) continue;
        const auto mine = slots.subspan(heavy * per_gpu, per_gpu);
        const auto theirs = slots.subspan(other * per_gpu, per_gpu);
        double best = (1 - kLeastGain) * load[heavy];
        ExpertId* give = nullptr;
        ExpertId* take = nullptr;
        for (ExpertId& a : mine) {
          if (std::ranges::count(theirs, a) > 0) continue;
          for (ExpertId& b : theirs) {
            if (std::ranges::count(mine, b) > 0) continue;
            const double shift = loads.share(a) - loads.share(b);
            const double worst = std::max(load[heavy] - shift, load[other] + shift);
            if (shift > 0 && worst < best) best = worst, give = &a, take = &b;
          }
        }
        if (give == nullptr) continue;
        const double shift = loads.share(*give) - loads.share(*take);
        load[heavy] -= shift;
        load[other] += shift;
        std::swap(*give, *take);
        used.insert(std::minmax(heavy, other));
        swapped = true;
        break;
      }
      if (!swapped) return;
    }
  }
};

}  // namespace

const Algorithm& swift() {
  static const Swift algorithm;
  return algorithm;
}

}  // namespace moesaic::placement
