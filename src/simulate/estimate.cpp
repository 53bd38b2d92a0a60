#include "simulate/estimate.hpp"

#include <cmath>
#include <iterator>
#include <numeric>

#include "core/check.hpp"

namespace moesaic::simulate {
namespace {

/// Two-sided 95 % points of Student's t by degrees of freedom; beyond them the normal's.
double student_t(std::size_t freedom) {
  constexpr double kTable[] = {0,     12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
                               2.201, 2.179,  2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086};
  return freedom < std::size(kTable) ? kTable[freedom] : 1.96 + 2.4 / static_cast<double>(freedom);
}

}  // namespace

Estimate estimate(const std::vector<double>& values) {
  const double n = static_cast<double>(values.size());
  Estimate out{.mean = std::accumulate(values.begin(), values.end(), 0.0) / n};
  if (values.size() < 2) return out;
  double squares = 0;
  for (const double value : values) squares += (value - out.mean) * (value - out.mean);
  out.half = student_t(values.size() - 1) * std::sqrt(squares / (n - 1) / n);
  return out;
}

Estimate estimate_change(const std::vector<double>& values, const std::vector<double>& base) {
  MOESAIC_CHECK(values.size() == base.size());
  std::vector<double> changes;
  for (std::size_t i = 0; i < values.size(); ++i) {
    changes.push_back(base[i] == 0 ? 0 : values[i] / base[i] - 1);
  }
  return estimate(changes);
}

}  // namespace moesaic::simulate
