#include "profile/balance.hpp"

#include <algorithm>
#include <numeric>

#include "core/check.hpp"
#include "profile/statistics.hpp"

namespace moesaic::profile {
namespace {

/// Copies of each expert, at most one a GPU while a colder expert can take the slot.
std::vector<std::size_t> copies_of(std::span<const double> loads, std::size_t slots, std::size_t gpus) {
  std::vector<std::size_t> copies(loads.size(), 1);
  for (std::size_t extra = loads.size(); extra < slots; ++extra) {
    std::size_t best = loads.size();
    double most = -1;
    for (std::size_t e = 0; e < loads.size(); ++e) {
      const double each = loads[e] / static_cast<double>(copies[e]);
      if (copies[e] < gpus && each > most) {
        most = each;
        best = e;
      }
    }
    if (best == loads.size()) break;
    ++copies[best];
  }
  return copies;
}

double max_over_mean(std::span<const double> loads) {
  const double total = std::accumulate(loads.begin(), loads.end(), 0.0);
  if (!(total > 0)) return kNothing;
  return *std::max_element(loads.begin(), loads.end()) * static_cast<double>(loads.size()) / total;
}

}  // namespace

QuickPlan quick_plan(std::span<const double> loads, std::size_t gpus, std::size_t slots_per_gpu) {
  MOESAIC_CHECK(gpus > 0 && slots_per_gpu * gpus >= loads.size());
  const std::vector<std::size_t> copies = copies_of(loads, slots_per_gpu * gpus, gpus);
  std::vector<std::size_t> order(loads.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto each = [&](std::size_t e) { return loads[e] / static_cast<double>(copies[e]); };
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return each(a) > each(b); });
  QuickPlan plan{.gpus = gpus, .gpu_of = std::vector<std::vector<std::size_t>>(loads.size())};
  std::vector<double> load(gpus);
  std::vector<std::size_t> used(gpus);
  for (const std::size_t e : order) {
    std::vector<std::size_t>& on = plan.gpu_of[e];
    for (std::size_t c = 0; c < copies[e]; ++c) {
      std::size_t best = gpus;
      for (const bool again : {false, true}) {
        for (std::size_t g = 0; g < gpus; ++g) {
          if (used[g] == slots_per_gpu || (!again && std::find(on.begin(), on.end(), g) != on.end()))
            continue;
          if (best == gpus || load[g] < load[best]) best = g;
        }
        if (best < gpus) break;
      }
      on.push_back(best);
      load[best] += each(e);
      ++used[best];
    }
  }
  return plan;
}

double imbalance(const QuickPlan& plan, std::span<const double> loads) {
  std::vector<double> load(plan.gpus);
  for (std::size_t e = 0; e < loads.size(); ++e) {
    const std::vector<std::size_t>& on = plan.gpu_of[e];
    for (const std::size_t gpu : on) load[gpu] += loads[e] / static_cast<double>(on.size());
  }
  return max_over_mean(load);
}

double contiguous_imbalance(std::span<const double> loads, std::size_t gpus) {
  MOESAIC_CHECK(gpus > 0 && loads.size() % gpus == 0);
  std::vector<double> load(gpus);
  for (std::size_t e = 0; e < loads.size(); ++e) load[e / (loads.size() / gpus)] += loads[e];
  return max_over_mean(load);
}

double imbalance_bound(std::span<const double> loads, std::size_t gpus, std::size_t slots_per_gpu) {
  const double total = std::accumulate(loads.begin(), loads.end(), 0.0);
  if (!(total > 0)) return kNothing;
  const std::vector<std::size_t> copies = copies_of(loads, slots_per_gpu * gpus, gpus);
  double hottest = 0;
  for (std::size_t e = 0; e < loads.size(); ++e)
    hottest = std::max(hottest, loads[e] / static_cast<double>(copies[e]));
  return std::max(1.0, hottest * static_cast<double>(gpus) / total);
}

std::size_t fitting_gpus(std::size_t experts, std::size_t wanted) {
  std::size_t gpus = std::max<std::size_t>(1, std::min(experts, wanted));
  while (experts % gpus != 0) --gpus;
  return gpus;
}

}  // namespace moesaic::profile
