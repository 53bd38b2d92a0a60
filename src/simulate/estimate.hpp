// What several seeds say together.
#pragma once

#include <vector>

namespace moesaic::simulate {

/// A mean over seeds and the half-width of its 95 % interval (Student's t); half is 0 for one seed.
struct Estimate {
  double mean = 0, half = 0;
};
Estimate estimate(const std::vector<double>& values);

/// Of the relative changes values[i] / base[i] - 1 (0 where the base is 0). REQUIRES: equal sizes, not empty.
Estimate estimate_change(const std::vector<double>& values, const std::vector<double>& base);

}  // namespace moesaic::simulate
