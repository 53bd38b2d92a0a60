// Ranks for Spearman's rho: the inner loop of the layer choice, sorted by radix.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace moesaic::signature {

/// Twice the rank (from 0) of each value, values that tie at their mean: whole numbers, so that sums over
/// them are exact. Not thread-safe; one a thread, its buffers are kept. O(n). REQUIRES: no NaN.
class Ranker {
 public:
  void doubled_ranks(std::span<const float> values, std::span<std::int64_t> ranks);

 private:
  std::vector<std::uint64_t> keys_, other_;
};

/// Pearson correlation of doubled ranks; 0 when either side is constant. REQUIRES: equal sizes below 2^20,
/// for which the sums fit in int64.
double rank_correlation(std::span<const std::int64_t> a, std::span<const std::int64_t> b);

}  // namespace moesaic::signature
