#include "placement/preference.hpp"

namespace moesaic::placement {

std::vector<std::int64_t> rows_by_gpu(const traffic::LayerTokens& tokens, const Topology& topology,
                                      Attention attention, std::size_t experts) {
  std::vector<std::int64_t> rows(topology.gpus() * experts);
  for (const traffic::Segment& segment : tokens.segments) {
    for (std::size_t t = 0; t < segment.count; ++t) {
      const GpuId gpu = topology.source_gpu(segment.home, segment.position + t, attention);
      for (const ExpertId expert : tokens.experts.subspan((segment.begin + t) * tokens.k, tokens.k)) {
        if (expert != kMissingExpert) ++rows[index(gpu) * experts + index(expert)];
      }
    }
  }
  return rows;
}

std::vector<std::int64_t> rows_by_node(std::span<const std::int64_t> by_gpu, const Topology& topology,
                                       std::size_t experts) {
  std::vector<std::int64_t> rows(topology.nodes * experts);
  for (std::size_t gpu = 0; gpu < topology.gpus(); ++gpu) {
    const std::size_t node = index(topology.node_of(GpuId(gpu)));
    for (std::size_t e = 0; e < experts; ++e) rows[node * experts + e] += by_gpu[gpu * experts + e];
  }
  return rows;
}

}  // namespace moesaic::placement
