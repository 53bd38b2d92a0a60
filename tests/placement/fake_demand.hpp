// A demand that a test writes down: one token list for every layer, or loads alone.
#pragma once

#include <numeric>

#include "placement/algorithm.hpp"

namespace moesaic::placement::testing {

class FakeDemand final : public Demand {
 public:
  /// Loads alone, [L, E].
  FakeDemand(std::size_t layers, std::size_t experts, std::vector<double> loads) : loads_(std::move(loads)) {
    make_shape(layers, experts, 1);
  }

  /// The same tokens in every layer. One request a token; home of token t is homes[t].
  FakeDemand(std::size_t layers, std::size_t experts, std::size_t k, std::vector<ExpertId> tokens,
             const std::vector<HomeId>& homes)
      : tokens_(std::move(tokens)), has_tokens_(true) {
    make_shape(layers, experts, k);
    loads_.resize(layers * experts);
    for (std::size_t row = 0; row < layers; ++row) {
      for (const ExpertId expert : tokens_) {
        if (expert != kMissingExpert) loads_[row * experts + index(expert)] += 1;
      }
    }
    for (std::size_t t = 0; t < homes.size(); ++t) {
      segments_.push_back(
          {.request = static_cast<std::uint32_t>(t), .home = homes[t], .begin = t, .count = 1});
    }
  }

  const ModelShape& shape() const override { return shape_; }
  std::span<const double> loads() const override { return loads_; }
  bool has_tokens() const override { return has_tokens_; }
  Result<LayerDemand> layer(std::size_t) const override { return LayerDemand{tokens_, segments_}; }

 private:
  void make_shape(std::size_t layers, std::size_t experts, std::size_t k) {
    shape_ = {.model = "fake", .model_layers = layers, .layers = {}, .experts = experts, .top_k = k};
    for (std::size_t row = 0; row < layers; ++row) shape_.layers.push_back(LayerId(row));
  }

  ModelShape shape_;
  std::vector<double> loads_;
  std::vector<ExpertId> tokens_;
  std::vector<traffic::Segment> segments_;
  bool has_tokens_ = false;
};

/// Copies of an expert that share a GPU with another copy of it, over the layer.
inline std::size_t doubled_on_a_gpu(const Placement& placement, std::size_t row) {
  std::size_t doubled = 0;
  const std::span<const ExpertId> slots = placement.layer(row);
  for (std::size_t a = 0; a < slots.size(); ++a) {
    for (std::size_t b = 0; b < a; ++b) {
      doubled += slots[a] == slots[b] && placement.gpu_of(SlotId(a)) == placement.gpu_of(SlotId(b)) ? 1 : 0;
    }
  }
  return doubled;
}

inline std::vector<int> ids(std::span<const ExpertId> slots) {
  std::vector<int> out;
  for (const ExpertId expert : slots) out.push_back(static_cast<int>(index(expert)));
  return out;
}

}  // namespace moesaic::placement::testing
