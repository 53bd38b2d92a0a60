#include "profile/drift.hpp"

#include <algorithm>
#include <cmath>

#include "profile/balance.hpp"
#include "profile/statistics.hpp"

namespace moesaic::profile {
namespace {

double half_life(const std::vector<double>& by_lag) {
  double most = 0;
  for (const double bits : by_lag) most = std::isnan(bits) ? most : std::max(most, bits);
  if (!(most > 0)) return kNothing;
  double before = 0;
  for (std::size_t lag = 1; lag <= by_lag.size(); ++lag) {
    const double bits = by_lag[lag - 1];
    if (std::isnan(bits)) continue;
    if (bits >= most / 2) return static_cast<double>(lag - 1) + (most / 2 - before) / (bits - before);
    before = bits;
  }
  return kNothing;
}

}  // namespace

Drift drift(const Loads& windows, std::size_t gpus) {
  const std::size_t n = windows.kinds;
  Drift out{.gpus = fitting_gpus(windows.experts, gpus),
            .between = distances(windows).jensen_shannon_bits,
            .by_lag = {},
            .half_life = kNothing,
            .next = {},
            .lost = kNothing};
  for (std::size_t lag = 1; lag < n; ++lag) {
    std::vector<double> bits;
    for (std::size_t w = 0; w + lag < n; ++w) bits.push_back(out.between[w * n + w + lag]);
    out.by_lag.push_back(mean(bits));
  }
  out.half_life = half_life(out.by_lag);
  std::vector<double> losses;
  const std::size_t slots = windows.experts / out.gpus;
  for (std::size_t w = 0; w + 1 < n; ++w) {
    std::vector<double> carried, own, contiguous;
    for (std::size_t l = 0; l < windows.layers; ++l) {
      const auto before = windows.at(l, w), after = windows.at(l, w + 1);
      if (std::isnan(spread(before).gini)) continue;
      carried.push_back(imbalance(quick_plan(before, out.gpus, slots), after));
      own.push_back(imbalance(quick_plan(after, out.gpus, slots), after));
      contiguous.push_back(contiguous_imbalance(after, out.gpus));
    }
    out.next.push_back({mean(carried), mean(own), mean(contiguous)});
    losses.push_back(out.next.back().carried / out.next.back().own - 1);
  }
  out.lost = mean(losses);
  return out;
}

}  // namespace moesaic::profile
