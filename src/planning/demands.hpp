// What a placement algorithm is told: the tokens of a trace with their homes, or bare loads.
#pragma once

#include <span>
#include <vector>

#include "evaluate/selected_tokens.hpp"
#include "placement/algorithm.hpp"

namespace moesaic::planning {

/// Tokens of a trace. REQUIRES: `tokens` and `weights` outlive this; homes and weights (of each token, or
/// empty) by tokens.requests() order.
class TraceDemand final : public placement::Demand {
 public:
  TraceDemand(const evaluate::SelectedTokens& tokens, std::span<const HomeId> homes,
              std::vector<double> loads, std::span<const std::uint32_t> weights = {});

  const ModelShape& shape() const override { return tokens_.source().shape(); }
  std::span<const double> loads() const override { return loads_; }
  bool has_tokens() const override { return true; }
  std::span<const std::uint32_t> domains() const override { return domains_; }
  Result<placement::LayerDemand> layer(std::size_t row) const override;

 private:
  const evaluate::SelectedTokens& tokens_;
  std::vector<traffic::Segment> segments_;
  std::span<const std::uint32_t> weights_;
  std::vector<std::uint32_t> domains_;  ///< by segment; empty when no request has a label
  std::vector<double> loads_;
};

/// Loads only, [L, E].
class LoadDemand final : public placement::Demand {
 public:
  LoadDemand(ModelShape shape, std::vector<double> loads);

  const ModelShape& shape() const override { return shape_; }
  std::span<const double> loads() const override { return loads_; }
  bool has_tokens() const override { return false; }
  Result<placement::LayerDemand> layer(std::size_t row) const override;

 private:
  ModelShape shape_;
  std::vector<double> loads_;
};

}  // namespace moesaic::planning
