#include "placement/unseen_loads.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "core/balance.hpp"
#include "core/check.hpp"
#include "core/random.hpp"

namespace moesaic::placement {
namespace {

/// Poisson's distribution of a mean of at most kLeast, drawn by a hash.
class Poisson {
 public:
  explicit Poisson(double mean) {
    double chance = std::exp(-mean), sum = 0;
    for (std::size_t i = 0; i < at_most_.size(); ++i) {
      sum += chance;
      at_most_[i] = sum;
      chance *= mean / static_cast<double>(i + 1);
    }
  }
  std::int64_t drawn_by(std::uint64_t hash) const {
    const double u = static_cast<double>(hash >> 11) * 0x1p-53;
    return std::ranges::upper_bound(at_most_, u) - at_most_.begin();
  }

 private:
  std::array<double, 4 * UnseenLoads::kLeast> at_most_{};  ///< [i]: the chance of i or fewer
};

std::size_t requests_of(const traffic::LayerTokens& tokens) {
  std::size_t requests = 0;
  for (std::size_t i = 0; i < tokens.segments.size(); ++i)
    requests += i == 0 || tokens.segments[i].request != tokens.segments[i - 1].request ? 1 : 0;
  return requests;
}

}  // namespace

UnseenLoads::UnseenLoads(const traffic::LayerTokens& tokens, std::size_t experts)
    : experts_(experts), rows_(kDraws * kParts * experts) {
  const std::size_t requests = requests_of(tokens);
  const bool quarters = requests >= kParts * kLeast;
  const Poisson times_drawn(static_cast<double>(kLeast) /
                            static_cast<double>(std::max<std::size_t>(1, requests)));
  struct Drawn {
    std::int64_t* rows = nullptr;  ///< [E] of the set
    std::int64_t times = 0;
  };
  std::vector<Drawn> drawn;
  for (const traffic::Segment& segment : tokens.segments) {
    drawn.clear();
    for (std::size_t draw = 0; draw < kDraws; ++draw) {
      std::int64_t* const sets = &rows_[draw * kParts * experts_];
      if (quarters) {
        drawn.push_back({sets + counter_hash({draw, segment.request}) % kParts * experts_, 1});
        continue;
      }
      for (std::size_t part = 0; part < kParts; ++part) {
        const std::int64_t times = times_drawn.drawn_by(counter_hash({draw, part, segment.request}));
        if (times > 0) drawn.push_back({sets + part * experts_, times});
      }
    }
    for (const ExpertId expert : tokens.experts.subspan(segment.begin * tokens.k, segment.count * tokens.k)) {
      if (expert == kMissingExpert) continue;
      for (const Drawn& set : drawn) set.rows[index(expert)] += set.times;
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
