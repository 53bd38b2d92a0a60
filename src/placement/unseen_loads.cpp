#include "placement/unseen_loads.hpp"

#include <algorithm>
#include <numeric>

#include "core/balance.hpp"
#include "core/check.hpp"
#include "core/random.hpp"

namespace moesaic::placement {
namespace {

std::size_t requests_of(const traffic::LayerTokens& tokens) {
  std::size_t requests = 0;
  for (std::size_t i = 0; i < tokens.segments.size(); ++i)
    requests += i == 0 || tokens.segments[i].request != tokens.segments[i - 1].request ? 1 : 0;
  return requests;
}

}  // namespace

UnseenLoads::UnseenLoads(const traffic::LayerTokens& tokens, std::size_t experts)
    : experts_(experts), rows_(kDraws * kParts * experts) {
  const auto requests = static_cast<double>(requests_of(tokens));
  const double share = std::max(1.0 / kParts, kLikeFresh / (kLikeFresh + requests));
  std::vector<std::int64_t*> sets;
  for (const traffic::Segment& segment : tokens.segments) {
    sets.clear();
    for (std::size_t draw = 0; draw < kDraws; ++draw) {
      const std::uint64_t hash = counter_hash({draw, segment.request});
      // A point of the circle in steps of 1 / kParts, from the low bits, and within its step, from the high
      // ones.
      const double within = static_cast<double>(hash >> 11) * 0x1p-53;
      for (std::size_t turn = 0; static_cast<double>(turn) + within < share * kParts; ++turn)
        sets.push_back(&rows_[(draw * kParts + (hash + turn) % kParts) * experts_]);
    }
    for (const ExpertId expert : tokens.experts.subspan(segment.begin * tokens.k, segment.count * tokens.k)) {
      if (expert == kMissingExpert) continue;
      for (std::int64_t* const set : sets) ++set[index(expert)];
    }
  }
}

double UnseenLoads::imbalance(std::span<const std::uint16_t> part_of_expert, std::size_t parts) const {
  MOESAIC_CHECK(part_of_expert.size() == experts_);
  double sum = 0;
  std::size_t counted = 0;
  std::vector<std::int64_t> load(parts);
  for (std::size_t set = 0; set < kDraws * kParts; ++set) {
    std::ranges::fill(load, 0);
    for (std::size_t e = 0; e < experts_; ++e) {
      if (part_of_expert[e] != kElsewhere) load[part_of_expert[e]] += rows_[set * experts_ + e];
    }
    if (std::ranges::max(load) == 0) continue;
    sum += max_over_mean(load);
    ++counted;
  }
  return counted > 0 ? sum / static_cast<double>(counted) : 1;
}

}  // namespace moesaic::placement
