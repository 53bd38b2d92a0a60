// How loads change from window to window, and what a plan made on one window loses on the next.
#pragma once

#include <cstddef>
#include <vector>

#include "profile/domains.hpp"

namespace moesaic::profile {

struct NextWindow {
  double carried = 0;  ///< max/mean over GPUs on window i + 1 of the plan made on window i, mean over layers
  double own = 0;      ///< of a plan made on window i + 1 itself: what hindsight gives
  double contiguous = 0;  ///< of the contiguous layout on window i + 1
};

struct Drift {
  std::size_t gpus = 1;
  std::vector<double> between;  ///< [windows, windows] Jensen-Shannon in bits, mean over layers
  std::vector<double> by_lag;   ///< [windows - 1]: mean over pairs of windows lag 1, 2, ... apart
  /// Lag, in windows, at which by_lag first reaches half of its largest value (linear between lags, 0 at
  /// lag 0): below 1 = windows are strangers at once (or the difference is sampling noise). NaN: no drift.
  double half_life = 0;
  std::vector<NextWindow> next;  ///< [windows - 1]
  double lost = 0;               ///< mean of carried / own - 1 over next
};

/// `windows`: loads with windows as kinds, in time order. Windows without load are skipped (NaN).
Drift drift(const Loads& windows, std::size_t gpus);

}  // namespace moesaic::profile
