// The homes one would choose knowing all requests at once: the oracle beside the online assignment.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/homes.hpp"
#include "core/result.hpp"

namespace moesaic::grouping {

struct OfflineOptions {
  Attention attention = Attention::kDataParallel;
  double epsilon =
      0.1;  ///< a home gets at most (1 + epsilon) * its share of the tokens, where that is possible
};

struct OfflineHomes {
  Homes homes;
  double home_max_over_mean = 1;  ///< of tokens, against the shares
  double mean_score = 0;
};

/// `scores` is [requests, homes]: the higher the better. First the exact assignment of greatest total score
/// with at most ceil((1 + epsilon) * share * requests) requests a home (solve::transport), then the repair of
/// grouping/token_balance.hpp for tokens: proven for requests, heuristic for tokens.
/// Deterministic. REQUIRES: sizes as stated, finite scores, shares > 0 with sum 1, tokens >= 0.
OfflineHomes offline_homes(std::span<const double> scores, std::span<const double> shares,
                           std::span<const std::int64_t> tokens, const OfflineOptions& options);

}  // namespace moesaic::grouping
