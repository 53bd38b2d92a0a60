#include "grouping/offline_homes.hpp"

#include <algorithm>
#include <cmath>

#include "core/check.hpp"
#include "grouping/token_balance.hpp"
#include "solve/transport.hpp"

namespace moesaic::grouping {

OfflineHomes offline_homes(std::span<const double> scores, std::span<const double> shares,
                           std::span<const std::int64_t> tokens, const OfflineOptions& options) {
  const std::size_t homes = shares.size(), requests = tokens.size();
  MOESAIC_CHECK(homes > 0 && scores.size() == requests * homes);
  const double largest = std::ranges::max(shares);
  MOESAIC_CHECK(std::ranges::min(shares) > 0 && largest > 0);
  // Scores in 2^40 steps of the largest: an exact assignment needs whole costs.
  double reach = 1;
  for (const double s : scores) reach = std::max(reach, std::abs(s));
  std::vector<std::int64_t> costs(scores.size()), capacities;
  std::ranges::transform(scores, costs.begin(), [&](double s) { return -std::llrint(s / reach * 0x1.0p40); });
  for (const double share : shares) {
    const double room = std::ceil((1 + options.epsilon) * share * static_cast<double>(requests));
    capacities.push_back(static_cast<std::int64_t>(room));
  }
  auto found = solve::transport(
      {.items = requests, .bins = homes, .costs = costs, .capacities = capacities, .prices = {}});
  MOESAIC_CHECK(found.has_value());  // shares add up to 1, so rounding up leaves room for all
  std::vector<std::uint32_t>& home_of = found->bin_of_item;
  balance_tokens(scores, tokens, shares, options.epsilon, home_of);

  OfflineHomes result;
  result.homes.attention = options.attention;
  for (std::size_t i = 0; i < requests; ++i) {
    result.homes.of_request.push_back(HomeId(home_of[i]));
    result.mean_score += scores[i * homes + home_of[i]] / static_cast<double>(requests);
  }
  result.home_max_over_mean = load_over_share(tokens, home_of, shares);
  return result;
}

}  // namespace moesaic::grouping
