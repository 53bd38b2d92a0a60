// Homes of requests nobody has seen, one at a time and without looking ahead.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "core/homes.hpp"
#include "core/result.hpp"
#include "signature/assigner.hpp"

namespace moesaic::grouping {

/// What a home may be chosen by.
enum class AssignMode {
  kAfterPrefill,  ///< the signature of the request's prefill
  kPredicted,     ///< a signature predicted before the prefill (aggregated serving: the KV stays where it is)
  kRandom,        ///< nothing: a hash, under the same balance
  kTold,          ///< what the request will truly activate: an oracle
};
/// "after-prefill", "predicted", "random", "told".
std::string_view name(AssignMode mode);
/// `oracle`: whether "told" may be asked for here. Errors (bad input) name what may.
Result<AssignMode> parse_assign_mode(std::string_view text, bool oracle = false);

struct OnlineOptions {
  AssignMode mode = AssignMode::kAfterPrefill;
  Attention attention = Attention::kDataParallel;
  /// A home takes requests while its load is at most (1 + epsilon) * its share of all so far, plus
  /// `grace_requests` of the mean weight so far: loads cannot be steered more finely than by a request, and
  /// without grace the first ones are dealt out in turn whatever they look like.
  double epsilon = 0.1;
  double grace_requests = 1;
  std::uint64_t seed = 0;  ///< of kRandom
};

struct OnlineHomes {
  Homes homes;                    ///< by request, in the order of the inputs
  double home_max_over_mean = 1;  ///< of the true tokens, against the shares
  double mean_score = 0;          ///< mean over requests of the chosen home's score
  double mean_best_score = 0;     ///< ... of the best home's, balance aside
};

/// `scores` is [requests, homes] (signature::scores; ignored by kRandom), `shares` the homes' capacities
/// (sum 1), `predicted_tokens` what a request is thought to weigh when it arrives, `tokens` what it weighed
/// in truth (report only), `order` the order of arrival. A request goes to the best score
/// among the homes whose load of predicted tokens is at most (1 + epsilon) * share * tokens placed so far +
/// grace_requests * mean predicted tokens so far: at least one always is. Ties go to the lower relative load,
/// then to the lower home. kRandom takes the admissible home of the highest counter hash of (seed, position,
/// home). O(requests * homes). Deterministic. REQUIRES: sizes as stated, tokens >= 0, order a permutation.
OnlineHomes online_homes(std::span<const double> scores, std::span<const double> shares,
                         std::span<const std::int64_t> predicted_tokens, std::span<const std::int64_t> tokens,
                         std::span<const std::uint32_t> order, const OnlineOptions& options);

}  // namespace moesaic::grouping
