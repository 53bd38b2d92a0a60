#include "placement/unseen_loads.hpp"

#include <algorithm>
#include <array>
#include <numeric>

#include "core/balance.hpp"
#include "core/check.hpp"
#include "core/random.hpp"

namespace moesaic::placement {

UnseenLoads::UnseenLoads(const traffic::LayerTokens& tokens, std::size_t experts)
    : experts_(experts), rows_(kDraws * kParts * experts) {
  for (const traffic::Segment& segment : tokens.segments) {
    std::array<std::int64_t*, kDraws> quarters;
    for (std::size_t draw = 0; draw < kDraws; ++draw) {
      quarters[draw] = &rows_[(draw * kParts + counter_hash({draw, segment.request}) % kParts) * experts_];
    }
    for (const ExpertId expert : tokens.experts.subspan(segment.begin * tokens.k, segment.count * tokens.k)) {
      if (expert == kMissingExpert) continue;
      for (std::int64_t* const quarter : quarters) ++quarter[index(expert)];
    }
  }
}

double UnseenLoads::imbalance(std::span<const std::uint16_t> part_of_expert, std::size_t parts) const {
  MOESAIC_CHECK(part_of_expert.size() == experts_);
  double sum = 0;
  std::size_t counted = 0;
  std::vector<std::int64_t> load(parts);
  for (std::size_t quarter = 0; quarter < kDraws * kParts; ++quarter) {
    std::ranges::fill(load, 0);
    for (std::size_t e = 0; e < experts_; ++e) {
      if (part_of_expert[e] != kElsewhere) load[part_of_expert[e]] += rows_[quarter * experts_ + e];
    }
    if (std::ranges::max(load) == 0) continue;
    sum += max_over_mean(load);
    ++counted;
  }
  return counted > 0 ? sum / static_cast<double>(counted) : 1;
}

}  // namespace moesaic::placement
