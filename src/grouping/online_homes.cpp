#include "grouping/online_homes.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/check.hpp"
#include "core/random.hpp"
#include "grouping/token_balance.hpp"
#include "solve/balanced_choice.hpp"

namespace moesaic::grouping {

std::string_view name(AssignMode mode) {
  switch (mode) {
    case AssignMode::kAfterPrefill:
      return "after-prefill";
    case AssignMode::kPredicted:
      return "predicted";
    case AssignMode::kRandom:
      return "random";
    case AssignMode::kTold:
      return "told";
  }
  return "";
}

Result<AssignMode> parse_assign_mode(std::string_view text, bool oracle) {
  for (const AssignMode mode :
       {AssignMode::kAfterPrefill, AssignMode::kPredicted, AssignMode::kRandom, AssignMode::kTold}) {
    if (name(mode) == text && (oracle || mode != AssignMode::kTold)) return mode;
  }
  return bad_input(fmt::format("'{}' is no way to assign homes here; expected after-prefill, predicted{}.",
                               text, oracle ? ", random or told" : " or random"));
}

OnlineHomes online_homes(std::span<const double> scores, std::span<const double> shares,
                         std::span<const std::int64_t> predicted_tokens, std::span<const std::int64_t> tokens,
                         std::span<const std::uint32_t> order, const OnlineOptions& options) {
  const std::size_t homes = shares.size(), requests = order.size();
  const bool by_score = options.mode != AssignMode::kRandom;
  MOESAIC_CHECK(homes > 0 && predicted_tokens.size() == requests && tokens.size() == requests);
  MOESAIC_CHECK(!by_score || scores.size() == requests * homes);
  std::vector<std::uint32_t> home_of(requests);
  std::vector<double> loads(homes), preference(homes);
  double placed = 0;
  std::size_t seen = 0;
  OnlineHomes result;
  for (const std::uint32_t request : order) {
    for (std::size_t home = 0; home < homes; ++home) {
      preference[home] = by_score ? scores[request * homes + home]
                                  : static_cast<double>(counter_hash({options.seed, request, home}) >> 11);
    }
    const double grace = seen > 0 ? options.grace_requests * placed / static_cast<double>(seen) : 0;
    const std::size_t chosen = solve::balanced_choice(preference, loads, shares, options.epsilon, grace);
    home_of[request] = static_cast<std::uint32_t>(chosen);
    loads[chosen] += static_cast<double>(predicted_tokens[request]);
    placed += static_cast<double>(predicted_tokens[request]);
    ++seen;
    if (by_score) {
      result.mean_score += preference[chosen] / static_cast<double>(requests);
      result.mean_best_score += std::ranges::max(preference) / static_cast<double>(requests);
    }
  }
  result.homes.attention = options.attention;
  for (const std::uint32_t home : home_of) result.homes.of_request.push_back(HomeId(home));
  result.home_max_over_mean = load_over_share(tokens, home_of, shares);
  return result;
}

}  // namespace moesaic::grouping
