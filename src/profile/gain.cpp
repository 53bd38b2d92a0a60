#include "profile/gain.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "profile/balance.hpp"
#include "profile/statistics.hpp"

namespace moesaic::profile {
namespace {

std::vector<double> add_windows(const Loads& windows, std::size_t layer, std::size_t from, std::size_t to) {
  std::vector<double> out(windows.experts);
  for (std::size_t w = from; w < to; ++w) {
    for (std::size_t e = 0; e < windows.experts; ++e) out[e] += windows.at(layer, w)[e];
  }
  return out;
}

/// Which experts each node holds: each expert once, the largest wish first, then the free slots.
std::vector<bool> place(std::span<const double> wish, std::size_t groups, std::size_t experts,
                        std::size_t capacity) {
  std::vector<std::size_t> order(groups * experts);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return wish[a] > wish[b]; });
  std::vector<bool> held(groups * experts), placed(experts);
  std::vector<std::size_t> used(groups);
  const std::size_t once = node_capacity(experts, groups, 0);
  for (const std::size_t i : order) {
    const std::size_t g = i / experts, e = i % experts;
    if (placed[e] || used[g] == once) continue;
    held[i] = placed[e] = true;
    ++used[g];
  }
  for (const std::size_t i : order) {
    const std::size_t g = i / experts;
    if (held[i] || used[g] >= capacity || wish[i] == 0) continue;
    held[i] = true;
    ++used[g];
  }
  return held;
}

}  // namespace

Balance balance_gain(const Loads& windows, std::size_t wanted) {
  Balance out{.gpus = fitting_gpus(windows.experts, wanted), .contiguous = kNothing, .steps = {}};
  std::vector<double> contiguous;
  for (std::size_t l = 0; l < windows.layers; ++l)
    contiguous.push_back(contiguous_imbalance(add_windows(windows, l, 0, windows.kinds), out.gpus));
  out.contiguous = mean(contiguous);
  for (const double extra : kReplicaShares) {
    const double slots = static_cast<double>(windows.experts) * (1 + extra) / static_cast<double>(out.gpus);
    BalanceGain step{.extra = extra, .slots_per_gpu = static_cast<std::size_t>(std::ceil(slots - 1e-9))};
    std::vector<double> bound, in_sample, held_out;
    for (std::size_t l = 0; l < windows.layers; ++l) {
      const std::vector<double> all = add_windows(windows, l, 0, windows.kinds);
      bound.push_back(imbalance_bound(all, out.gpus, step.slots_per_gpu));
      in_sample.push_back(imbalance(quick_plan(all, out.gpus, step.slots_per_gpu), all));
      if (windows.kinds < 2) continue;
      const std::vector<double> earlier = add_windows(windows, l, 0, windows.kinds / 2);
      const std::vector<double> later = add_windows(windows, l, windows.kinds / 2, windows.kinds);
      if (std::isnan(spread(earlier).gini)) continue;
      held_out.push_back(imbalance(quick_plan(earlier, out.gpus, step.slots_per_gpu), later));
    }
    step.bound = mean(bound);
    step.in_sample = mean(in_sample);
    step.held_out = mean(held_out);
    out.steps.push_back(step);
  }
  return out;
}

std::size_t node_capacity(std::size_t experts, std::size_t nodes, double extra) {
  const double slots = static_cast<double>(experts) * (1 + extra) / static_cast<double>(nodes);
  return std::min(experts, static_cast<std::size_t>(std::ceil(slots - 1e-9)));
}

LayerGroupGain group_gain(std::span<const double> placed_on, std::span<const double> scored_on,
                          std::size_t groups, std::size_t capacity) {
  const std::size_t experts = scored_on.size() / groups;
  const double total = std::accumulate(scored_on.begin(), scored_on.end(), 0.0);
  if (!(total > 0)) return {kNothing, kNothing};
  const std::vector<bool> held = place(placed_on, groups, experts, capacity);
  double kept = 0, best = 0;
  for (std::size_t g = 0; g < groups; ++g) {
    std::vector<double> rows(scored_on.begin() + static_cast<std::ptrdiff_t>(g * experts),
                             scored_on.begin() + static_cast<std::ptrdiff_t>((g + 1) * experts));
    for (std::size_t e = 0; e < experts; ++e) kept += held[g * experts + e] ? rows[e] : 0;
    std::sort(rows.begin(), rows.end(), std::greater<>());
    for (std::size_t e = 0; e < std::min(capacity, experts); ++e) best += rows[e];
  }
  return {1 - best / total, 1 - kept / total};
}

}  // namespace moesaic::profile
