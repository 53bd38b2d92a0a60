#include "placement/windows.hpp"

#include <algorithm>

namespace moesaic::placement {

Result<WindowLoads> window_loads(const Demand& demand, std::size_t windows) {
  const ModelShape& shape = demand.shape();
  const std::size_t layers = shape.layers.size(), experts = shape.experts;
  if (!demand.has_tokens()) {
    WindowLoads loads{.windows = 1, .rows = std::vector<float>(layers * experts)};
    std::ranges::transform(demand.loads(), loads.rows.begin(),
                           [](double load) { return static_cast<float>(load); });
    return loads;
  }
  WindowLoads loads{.windows = windows, .rows = std::vector<float>(windows * layers * experts)};
  for (std::size_t row = 0; row < layers; ++row) {
    MOESAIC_ASSIGN(const LayerDemand layer, demand.layer(row));
    const std::size_t tokens = layer.experts.size() / shape.top_k;
    for (const traffic::Segment& segment : layer.segments) {
      if (segment.count == 0) continue;
      const std::size_t window = segment.begin * windows / tokens;
      float* counts = &loads.rows[(window * layers + row) * experts];
      for (std::size_t i = segment.begin * shape.top_k; i < (segment.begin + segment.count) * shape.top_k;
           ++i) {
        if (layer.experts[i] != kMissingExpert) counts[index(layer.experts[i])] += 1;
      }
    }
  }
  return loads;
}

}  // namespace moesaic::placement
