// Searches a Partition whose parts are all full: swaps keep every capacity, so the neighbourhood is all
// pairs of items on different parts, and Partition prices each exactly in O(1).
//
// Tabu search (Glover 1989) over that neighbourhood: the best allowed swap is taken even when it
// worsens, the two items then rest for a while, and the best feasible assignment seen is what is
// returned. Load limits are soft during the walk: a weight on the excess grows while the walk stays
// outside and shrinks while it stays inside (strategic oscillation); only assignments inside count.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/random.hpp"
#include "placement/partition.hpp"
#include "placement/partition_front.hpp"

namespace moesaic::placement {

/// Loads of a partition, in integer units so that sums are exact.
struct Loads {
  std::span<const std::int64_t> of_item;  ///< [E]
  std::int64_t limit = 0;                 ///< most a part may carry
};

/// Sum over parts of the load above the limit.
std::int64_t excess(const Loads& loads, std::span<const std::uint16_t> part_of_item, std::size_t parts);

/// As even as greedy and swaps make it: heaviest first onto the lightest part with room (Graham 1969),
/// then swaps between the heaviest part and any other while they help. REQUIRES: of_item.size() =
/// parts x capacity. O(E log E + swaps x E^2).
std::vector<std::uint16_t> balanced_assignment(std::span<const std::int64_t> load_of_item, std::size_t parts);

/// Largest load of a part.
std::int64_t largest_load(std::span<const std::int64_t> load_of_item,
                          std::span<const std::uint16_t> part_of_item, std::size_t parts);

/// Greedy by demand: (item, part) pairs by descending rows of the item from that home, each item to the
/// first part with room (arXiv:2604.23150, section 4.2, exact capacity). REQUIRES: parts x capacity holds
/// all items.
std::vector<std::uint16_t> demand_assignment(const PatternTable& table, std::size_t capacity);

/// An item that may lie on any part.
inline constexpr std::uint16_t kFree = 0xFFFF;

struct SearchOptions {
  std::size_t iterations = 1000;    ///< swaps a start
  std::size_t stale = 400;          ///< a start ends after so many swaps without a better assignment
  PartitionFront* front = nullptr;  ///< is offered every assignment on the way
  /// [E] or empty: part an item stays on, or kFree (pins.hpp). Every start must keep to it.
  std::span<const std::uint16_t> fixed = {};
};

struct SearchStats {
  std::size_t swaps = 0;
  std::size_t starts = 0;
};

/// Best feasible assignment over all starts; when a start is feasible, so is the result, and it never
/// costs more. Otherwise the one with the least excess. REQUIRES: starts not empty, each with full parts
/// of the same size. O(swaps x (E^2 + patterns of two items x k)); deterministic.
std::vector<std::uint16_t> search_partition(const PatternTable& table, const Loads& loads,
                                            std::span<const std::vector<std::uint16_t>> starts,
                                            const SearchOptions& options, Pcg32& random,
                                            SearchStats* stats = nullptr);

}  // namespace moesaic::placement
