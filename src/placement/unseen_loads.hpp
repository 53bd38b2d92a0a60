// How even a placement will look to requests that it was not made for. The plan's own tokens flatter it:
// sets of fewer requests load a node by chance as well, and more so where the requests of a kind share its
// experts. So imbalance is measured on quarters of the planning requests, drawn several times. A quarter of
// few requests is uneven whatever the placement, which would make the plan shy of every saving: there the
// sets are drawn with replacement, of about kLeast each (Poisson bootstrap: Hanley, MacGibbon 2006).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "traffic/tokens.hpp"

namespace moesaic::placement {

class UnseenLoads {
 public:
  static constexpr std::size_t kDraws = 4, kParts = 4;  ///< times the requests are cut in quarters
  static constexpr std::size_t kLeast = 100;            ///< requests in a set

  /// The sets that hold a request depend on its store index and on how many requests there are, so layers are
  /// cut alike. O(tokens k kDraws kParts).
  UnseenLoads(const traffic::LayerTokens& tokens, std::size_t experts);

  static constexpr std::uint16_t kElsewhere = 0xFFFF;

  /// Heaviest part over the mean, mean over the sets that have tokens for the parts; 1 without any.
  /// O(kDraws kParts (E + parts)). REQUIRES: part_of_expert[e] < parts, or kElsewhere.
  double imbalance(std::span<const std::uint16_t> part_of_expert, std::size_t parts) const;

 private:
  std::size_t experts_;
  std::vector<std::int64_t> rows_;  ///< [kDraws kParts, E]
};

}  // namespace moesaic::placement
