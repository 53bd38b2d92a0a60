// Items to bins by preference: the strongest wish that can still be met is met next. The core of the
// expert placement of arXiv:2604.23150, section 4.2, for nodes as for the GPUs of a node.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace moesaic::placement {

struct GreedyProblem {
  std::size_t bins = 0;
  std::span<const std::int64_t> preference;  ///< [bins, items]: how much the bin wants the item
  std::span<const std::int64_t> load;        ///< [items], >= 0
  std::span<const std::uint32_t> kind;       ///< [items] or empty: items of one kind avoid sharing a bin
  std::size_t capacity = 0;                  ///< items a bin takes
  /// Load a bin takes. Exceeded only by items that fit nowhere below it; those go to the lightest bin.
  std::int64_t load_limit = std::numeric_limits<std::int64_t>::max();
};

/// Bin of each item. Order: largest preference over the bins that are still open to the item; equal items
/// by larger load, then lower index; equal bins by lighter load, then lower index.
/// REQUIRES: bins x capacity >= items. O(items x bins x log) typical; deterministic.
std::vector<std::uint32_t> assign_greedily(const GreedyProblem& problem);

}  // namespace moesaic::placement
