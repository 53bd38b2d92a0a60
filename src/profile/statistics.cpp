#include "profile/statistics.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/check.hpp"

namespace moesaic::profile {
namespace {

std::vector<double> ranks(std::span<const double> values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
  std::vector<double> out(values.size());
  for (std::size_t begin = 0; begin < order.size();) {
    std::size_t end = begin + 1;
    while (end < order.size() && values[order[end]] == values[order[begin]]) ++end;
    for (std::size_t i = begin; i < end; ++i) out[order[i]] = 0.5 * static_cast<double>(begin + end - 1);
    begin = end;
  }
  return out;
}

}  // namespace

double sum(std::span<const double> values) { return std::accumulate(values.begin(), values.end(), 0.0); }

Spread spread(std::span<const double> loads) {
  Spread out;
  out.rows = sum(loads);
  const auto n = static_cast<double>(loads.size());
  if (!(out.rows > 0)) {
    out.max_over_mean = out.gini = out.cv = out.entropy = out.hottest_share = kNothing;
    out.unused = out.cold = loads.size();
    return out;
  }
  const double average = out.rows / n;
  std::vector<double> sorted(loads.begin(), loads.end());
  std::sort(sorted.begin(), sorted.end());
  double weighted = 0, squares = 0, entropy = 0;
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    weighted += (2.0 * static_cast<double>(i + 1) - n - 1) * sorted[i];
    squares += (sorted[i] - average) * (sorted[i] - average);
    if (sorted[i] > 0) entropy -= sorted[i] / out.rows * std::log(sorted[i] / out.rows);
    out.hot += sorted[i] > kHot * average;
    out.cold += sorted[i] < kCold * average;
    out.unused += sorted[i] == 0;
  }
  out.max_over_mean = sorted.back() / average;
  out.gini = weighted / (n * out.rows);
  out.cv = std::sqrt(squares / n) / average;
  out.entropy = loads.size() > 1 ? entropy / std::log(n) : 1;
  out.hottest_share = sorted.back() / out.rows;
  out.hottest = static_cast<std::size_t>(std::max_element(loads.begin(), loads.end()) - loads.begin());
  return out;
}

double jensen_shannon_bits(std::span<const double> a, std::span<const double> b) {
  MOESAIC_CHECK(a.size() == b.size());
  const double of_a = sum(a), of_b = sum(b);
  if (!(of_a > 0) || !(of_b > 0)) return kNothing;
  double out = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double p = a[i] / of_a, q = b[i] / of_b, m = 0.5 * (p + q);
    if (p > 0) out += 0.5 * p * std::log2(p / m);
    if (q > 0) out += 0.5 * q * std::log2(q / m);
  }
  return std::max(0.0, out);
}

double cosine(std::span<const double> a, std::span<const double> b) {
  MOESAIC_CHECK(a.size() == b.size());
  double aa = 0, bb = 0, ab = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    aa += a[i] * a[i];
    bb += b[i] * b[i];
    ab += a[i] * b[i];
  }
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : kNothing;
}

double pearson(std::span<const double> a, std::span<const double> b) {
  MOESAIC_CHECK(a.size() == b.size());
  const auto n = static_cast<double>(a.size());
  const double mean_a = sum(a) / n, mean_b = sum(b) / n;
  double aa = 0, bb = 0, ab = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double x = a[i] - mean_a, y = b[i] - mean_b;
    aa += x * x;
    bb += y * y;
    ab += x * y;
  }
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : kNothing;
}

double spearman(std::span<const double> a, std::span<const double> b) { return pearson(ranks(a), ranks(b)); }

double mean(std::span<const double> values) {
  double total = 0;
  std::size_t n = 0;
  for (const double value : values) {
    if (std::isnan(value)) continue;
    total += value;
    ++n;
  }
  return n > 0 ? total / static_cast<double>(n) : kNothing;
}

double quantile(std::span<const double> values, double q) {
  std::vector<double> sorted;
  for (const double value : values) {
    if (!std::isnan(value)) sorted.push_back(value);
  }
  if (sorted.empty()) return kNothing;
  std::sort(sorted.begin(), sorted.end());
  const double at = q * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

Independent independent_step(std::span<const double> probability, std::size_t tokens) {
  Independent out;
  const auto n = static_cast<double>(tokens);
  std::vector<double> term(probability.size()), below(probability.size());  // P(X = m), P(X <= m)
  for (std::size_t e = 0; e < probability.size(); ++e) {
    const double p = std::min(probability[e], 1.0);
    term[e] = p < 1 ? std::pow(1 - p, n) : 0;
    out.distinct += 1 - term[e];
  }
  for (std::size_t m = 0; m < tokens; ++m) {
    double all_below = 1;
    for (std::size_t e = 0; e < probability.size(); ++e) {
      const double p = std::min(probability[e], 1.0);
      if (p >= 1) {
        all_below = 0;  // always chosen: the largest load is the whole step
        break;
      }
      below[e] += term[e];
      all_below *= std::min(below[e], 1.0);
      term[e] *= static_cast<double>(tokens - m) / static_cast<double>(m + 1) * p / (1 - p);
    }
    out.largest += 1 - all_below;
    if (m > 0 && 1 - all_below < 1e-12) break;
  }
  return out;
}

}  // namespace moesaic::profile
