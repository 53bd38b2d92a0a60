// The transportation problem: items to bins of bounded capacity at the least total cost, exactly.
//
// Successive shortest paths (Busacker, Gowen 1960; Edmonds, Karp 1972) over a graph of the bins alone: the
// length of i -> k is the cheapest reassignment of an item of i to k, kept in one heap a pair. Every item
// starts in its cheapest bin; then overfull bins push items along shortest paths to bins with room.
// Prices (dual values) come out with the answer: they prove it, and they warm-start the next, similar
// problem, which then needs few paths.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/result.hpp"

namespace moesaic::solve {

/// Largest |cost| that transport() takes; with kMaxBins it keeps every path length within int64.
inline constexpr std::int64_t kMaxCost = std::int64_t{1} << 48;
inline constexpr std::size_t kMaxBins = 4096;

struct TransportProblem {
  std::size_t items = 0;
  std::size_t bins = 0;
  std::span<const std::int64_t> costs;       ///< [items, bins]
  std::span<const std::int64_t> capacities;  ///< [bins], items a bin may hold
  /// [bins] or empty: the prices of a similar problem. Any values are correct; good ones save work.
  std::span<const std::int64_t> prices;
};

struct TransportResult {
  std::vector<std::uint32_t> bin_of_item;  ///< [items]
  std::int64_t cost = 0;                   ///< the least there is
  /// [bins]. Every item is in a bin of least cost + price, and bins with room left have the lowest price
  /// (0): together the proof that no assignment costs less.
  std::vector<std::int64_t> prices;
};

struct TransportStats {
  std::uint64_t paths = 0;  ///< shortest paths pushed along
  std::uint64_t moves = 0;  ///< items moved
};

/// Deterministic: ties go to the lower bin, then to the lower item. Not parallel.
/// O(N K) to start plus O(K^2 + moves K log N) a path; at most min(N, overflow of the start) paths without
/// prices. Memory O(N K), for the bins that paths touch only.
/// REQUIRES: spans of the stated sizes, 1 <= bins <= kMaxBins, items < 2^32, |cost| <= kMaxCost,
/// capacities >= 0. Errors (answer no): the capacities hold fewer than all items.
Result<TransportResult> transport(const TransportProblem& problem, TransportStats* stats = nullptr);

}  // namespace moesaic::solve
