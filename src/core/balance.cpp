#include "core/balance.hpp"

#include <algorithm>

namespace moesaic {

double max_over_mean(std::span<const std::int64_t> loads) {
  std::int64_t sum = 0, most = 0;
  for (const std::int64_t load : loads) {
    sum += load;
    most = std::max(most, load);
  }
  if (sum == 0) return 1;
  return static_cast<double>(most) * static_cast<double>(loads.size()) / static_cast<double>(sum);
}

double jain_index(std::span<const std::int64_t> loads) {
  double sum = 0, squares = 0;
  for (const std::int64_t load : loads) {
    const auto x = static_cast<double>(load);
    sum += x;
    squares += x * x;
  }
  if (squares == 0) return 1;
  return sum * sum / (static_cast<double>(loads.size()) * squares);
}

}  // namespace moesaic
