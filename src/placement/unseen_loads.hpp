// How even a placement will look to requests that it was not made for. The plan's own tokens flatter it:
// sets of fewer requests load a node by chance as well, and more so where the requests of a kind share its
// experts. So imbalance is measured on parts of the planning requests, drawn several times: quarters, and
// larger parts of fewer than 300 requests. A quarter of few requests is uneven whatever the placement, which
// would make the plan shy of every saving. Loads of a share p of n requests differ from those of all n by a
// variance of (1 - p) / (p n), those of s fresh requests by 1 / s (Cochran 1977, chapter 2): p = s / (s + n).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "traffic/tokens.hpp"

namespace moesaic::placement {

class UnseenLoads {
 public:
  static constexpr std::size_t kDraws = 4, kParts = 4;  ///< parts of a draw; they hold each request as often
  static constexpr double kLikeFresh = 100;             ///< a part is no more uneven than so many requests

  /// The parts that hold a request depend on its store index and on how many requests there are, so layers
  /// are cut alike. Each draw puts the requests on a circle: parts are equal arcs that begin a quarter apart,
  /// so that quarters do not overlap. O(tokens k kDraws kParts).
  UnseenLoads(const traffic::LayerTokens& tokens, std::size_t experts);

  static constexpr std::uint16_t kElsewhere = 0xFFFF;

  /// Heaviest part over the mean, mean over the parts of requests that have tokens for the parts; 1 without
  /// any. O(kDraws kParts (E + parts)). REQUIRES: part_of_expert[e] < parts, or kElsewhere.
  double imbalance(std::span<const std::uint16_t> part_of_expert, std::size_t parts) const;

 private:
  std::size_t experts_;
  std::vector<std::int64_t> rows_;  ///< [kDraws kParts, E]
};

}  // namespace moesaic::placement
