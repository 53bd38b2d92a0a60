// Partition of items into parts under connectivity - 1 with a fixed vertex a net: the exact objective of
// one layer without replicas (items = experts, parts = nodes; or the experts of a node and its GPUs).
//
// Kept for every item e and part p, so that any move or swap is priced in O(1):
//   freed(e)     weight of patterns where e is the only item on its part and that part is not the home:
//                they lose a copy when e leaves
//   entered(e,p) weight of patterns of e that do not yet reach p and whose home is not p:
//                they gain a copy when e enters
//   alone(e,f)   the part of freed(e) whose patterns hold f too: a swap of e and f leaves those as they are
// move e: a -> b      delta = entered(e,b) - freed(e)
// swap e in a, f in b delta = entered(e,b) - freed(e) + entered(f,a) - freed(f) + alone(e,f) + alone(f,e)
// (gain tables in the manner of Fiduccia and Mattheyses 1982 and Sanchis 1989; the swap term is ours).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "placement/patterns_table.hpp"

namespace moesaic::placement {

/// Copies that an assignment sends: sum of weight x distinct parts reached but the home. The reference
/// of Partition; O(rows).
std::int64_t connectivity_cost(const PatternTable& table, std::span<const std::uint16_t> part_of_item);

class Partition {
 public:
  /// Keeps a reference to `table`. REQUIRES: part_of_item[e] < parts, table weights sum below 2^31,
  /// patterns of at most 255 items. O(rows x parts + E^2).
  /// Without `swaps` the pair table is not kept and swap_delta() must not be called: O(rows x parts).
  Partition(const PatternTable& table, std::span<const std::uint16_t> part_of_item, bool swaps = true);

  std::int64_t cost() const { return cost_; }
  std::size_t items() const { return part_.size(); }
  std::size_t parts() const { return parts_; }
  std::uint16_t part(std::size_t item) const { return part_[item]; }
  std::span<const std::uint16_t> assignment() const { return part_; }

  std::int64_t move_delta(std::size_t item, std::size_t to) const {
    return part_[item] == to ? 0 : std::int64_t{entered_[item * parts_ + to]} - freed_[item];
  }
  /// REQUIRES: different parts.
  std::int64_t swap_delta(std::size_t e, std::size_t f) const {
    return move_delta(e, part_[f]) + move_delta(f, part_[e]) + alone_[e * items() + f] +
           alone_[f * items() + e];
  }

  /// O(patterns of the item x k).
  void move(std::size_t item, std::size_t to);
  void swap(std::size_t e, std::size_t f);
  /// Moves every item that sits elsewhere to where `part_of_item` says.
  void assign(std::span<const std::uint16_t> part_of_item);

 private:
  void only(std::size_t pattern, std::size_t item, std::int32_t weight);

  const PatternTable& table_;
  std::size_t parts_;
  std::int64_t cost_ = 0;
  std::vector<std::uint16_t> part_;      ///< [E]
  std::vector<std::uint32_t> first_;     ///< [E + 1] into patterns_
  std::vector<std::uint32_t> patterns_;  ///< patterns of each item
  std::vector<std::uint8_t> reach_;      ///< [patterns, parts], items of the pattern on the part
  std::vector<std::int32_t> freed_;      ///< [E]
  std::vector<std::int32_t> entered_;    ///< [E, parts]
  std::vector<std::int32_t> alone_;      ///< [E, E]
};

}  // namespace moesaic::placement
