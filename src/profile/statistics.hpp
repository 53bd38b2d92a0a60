// The statistics that profile is made of, as pure functions of loads. A load is rows of an expert (or a
// share of them); what has no value (nothing was counted, a constant side) is NaN. docs/profile.md gives
// every formula. All are O(n) or O(n log n) and sum in index order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace moesaic::profile {

/// What has no value.
inline constexpr double kNothing = std::numeric_limits<double>::quiet_NaN();

double sum(std::span<const double> values);

/// How unevenly the experts of one layer are used.
struct Spread {
  double rows = 0;           ///< sum of the loads
  double max_over_mean = 0;  ///< hottest expert / mean
  double gini = 0;           ///< 0 = even, 1 - 1/E = one expert takes everything
  double cv = 0;             ///< standard deviation (of the population) / mean
  double entropy = 0;        ///< of the shares, / log E: 1 = even
  double hottest_share = 0;  ///< of all rows
  std::size_t hottest = 0;   ///< the lowest of the hottest experts
  std::size_t hot = 0;       ///< experts above kHot times the mean
  std::size_t cold = 0;      ///< experts below kCold times the mean, unused ones too
  std::size_t unused = 0;
};
inline constexpr double kHot = 2, kCold = 0.1;

Spread spread(std::span<const double> loads);

/// Jensen-Shannon divergence in bits (Lin 1991) of two loads, each normalised first: 0 = same, 1 = disjoint.
double jensen_shannon_bits(std::span<const double> a, std::span<const double> b);
double cosine(std::span<const double> a, std::span<const double> b);
double pearson(std::span<const double> a, std::span<const double> b);
/// Pearson of the ranks, equal values at their mean rank.
double spearman(std::span<const double> a, std::span<const double> b);

/// Mean over the values that are numbers; NaN when there are none.
double mean(std::span<const double> values);
/// By linear interpolation between order statistics, q in [0, 1]; NaN values are left out.
double quantile(std::span<const double> values, double q);

/// What a step of `tokens` independent tokens would see: each token takes expert e with probability
/// p[e], experts apart. Distinct experts: sum of 1 - (1 - p)^B. Largest load: sum over m of 1 - prod of
/// P(Binomial(B, p) <= m). O(E B).
struct Independent {
  double distinct = 0, largest = 0;
};
Independent independent_step(std::span<const double> probability, std::size_t tokens);

}  // namespace moesaic::profile
