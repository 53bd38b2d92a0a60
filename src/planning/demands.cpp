#include "planning/demands.hpp"

#include "core/check.hpp"

namespace moesaic::planning {

TraceDemand::TraceDemand(const evaluate::SelectedTokens& tokens, std::span<const HomeId> homes,
                         std::vector<double> loads, std::span<const std::uint32_t> weights)
    : tokens_(tokens), segments_(tokens.segments(homes)), weights_(weights), loads_(std::move(loads)) {
  const trace::RequestTable& requests = tokens.source().requests();
  bool labelled = false;
  for (const traffic::Segment& segment : segments_) {
    const std::uint16_t code = requests.domain[segment.request];
    labelled = labelled || !requests.domains[code].empty();
    domains_.push_back(code);
  }
  if (!labelled) domains_.clear();
}

Result<placement::LayerDemand> TraceDemand::layer(std::size_t row) const {
  MOESAIC_ASSIGN(std::vector<ExpertId> experts, tokens_.read_layer(row));
  return placement::LayerDemand{.experts = std::move(experts), .segments = segments_, .weights = weights_};
}

LoadDemand::LoadDemand(ModelShape shape, std::vector<double> loads)
    : shape_(std::move(shape)), loads_(std::move(loads)) {
  MOESAIC_CHECK(loads_.size() == shape_.layers.size() * shape_.experts);
}

Result<placement::LayerDemand> LoadDemand::layer(std::size_t) const {
  MOESAIC_CHECK(has_tokens());  // the caller asks for tokens only where there are some
  return placement::LayerDemand{};
}

}  // namespace moesaic::planning
