#include "solve/balanced_choice.hpp"

#include <algorithm>
#include <limits>

#include "core/check.hpp"

namespace moesaic::solve {

std::size_t balanced_choice(std::span<const double> scores, std::span<const double> loads,
                            std::span<const double> shares, double slack, double grace) {
  const std::size_t bins = shares.size();
  MOESAIC_CHECK(scores.size() == bins && loads.size() == bins);
  double total = 0, whole = 0;
  double least = std::numeric_limits<double>::infinity();  // admissible whatever rounding says
  for (std::size_t bin = 0; bin < bins; ++bin) {
    if (shares[bin] <= 0) continue;
    total += loads[bin];
    whole += shares[bin];
    least = std::min(least, loads[bin] / shares[bin]);
  }
  MOESAIC_CHECK(whole > 0);
  std::size_t chosen = bins;
  for (std::size_t bin = 0; bin < bins; ++bin) {
    if (shares[bin] <= 0) continue;
    const double filled = loads[bin] / shares[bin];
    if (filled > std::max(least, (1 + slack) * total / whole + grace / shares[bin])) continue;
    if (chosen == bins || scores[bin] > scores[chosen] ||
        (scores[bin] == scores[chosen] && filled < loads[chosen] / shares[chosen])) {
      chosen = bin;
    }
  }
  return chosen;
}

}  // namespace moesaic::solve
