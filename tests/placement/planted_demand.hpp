// Tokens with structure: every home likes its own experts, and experts come in families that fire
// together. What the placement tests plan on.
#pragma once

#include <algorithm>

#include "core/random.hpp"
#include "placement/algorithm.hpp"

namespace moesaic::placement::testing {

struct Planted {
  std::size_t layers = 2, experts = 16, top_k = 3, homes = 4, requests = 24, tokens = 30;
  std::uint64_t seed = 1;
  double missing = 0;  ///< share of choices that the source did not record
};

class PlantedDemand final : public Demand {
 public:
  explicit PlantedDemand(const Planted& planted) : planted_(planted) {
    shape_.model_layers = planted.layers;
    shape_.experts = planted.experts;
    shape_.top_k = planted.top_k;
    Pcg32 random(planted.seed, 5);
    for (std::size_t r = 0; r < planted.requests; ++r) {
      segments_.push_back({.request = static_cast<std::uint32_t>(r),
                           .home = HomeId(random.below(static_cast<std::uint32_t>(planted.homes))),
                           .position = random.below(7),
                           .begin = r * planted.tokens,
                           .count = planted.tokens});
    }
    for (std::size_t l = 0; l < planted.layers; ++l) {
      shape_.layers.push_back(LayerId(l));
      experts_.emplace_back();
      loads_.resize((l + 1) * planted.experts);
      for (const auto& segment : segments_) {
        for (std::size_t t = 0; t < segment.count; ++t) add_token(index(segment.home) + l, l, random);
      }
    }
  }

  const ModelShape& shape() const override { return shape_; }
  std::span<const double> loads() const override { return loads_; }
  bool has_tokens() const override { return true; }
  Result<LayerDemand> layer(std::size_t row) const override {
    return LayerDemand{experts_.at(row), segments_};
  }
  traffic::LayerTokens tokens(std::size_t row) const {
    return {shape_.layers[row], planted_.top_k, experts_.at(row), segments_};
  }

 private:
  void add_token(std::size_t taste, std::size_t layer, Pcg32& random) {
    std::vector<std::uint32_t> chosen;
    const auto experts = static_cast<std::uint32_t>(planted_.experts);
    while (chosen.size() < planted_.top_k) {
      std::uint32_t expert = random.below(experts);
      if (random.below(3) != 0) expert = static_cast<std::uint32_t>((taste * 5 + expert % 4) % experts);
      if (std::ranges::find(chosen, expert) == chosen.end()) chosen.push_back(expert);
    }
    for (const std::uint32_t expert : chosen) {
      const bool lost = random.uniform() < planted_.missing;
      experts_[layer].push_back(lost ? kMissingExpert : ExpertId(expert));
      if (!lost) loads_[layer * planted_.experts + expert] += 1;
    }
  }

  Planted planted_;
  ModelShape shape_;
  std::vector<traffic::Segment> segments_;
  std::vector<std::vector<ExpertId>> experts_;
  std::vector<double> loads_;
};

}  // namespace moesaic::placement::testing
