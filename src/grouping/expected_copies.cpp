#include "grouping/expected_copies.hpp"

#include <algorithm>

#include "core/check.hpp"

namespace moesaic::grouping {

ExpectedCopies::ExpectedCopies(const Placement& placement, Attention attention, dispatch::Rule rule,
                               CopyMode mode)
    : mode_(mode),
      homes_(placement.topology().homes(attention)),
      nodes_(placement.topology().nodes),
      layers_(placement.layers().size()),
      experts_(placement.experts()),
      share_(homes_ * layers_ * experts_ * nodes_) {
  const Topology& topology = placement.topology();
  const bool by_source = rule == dispatch::Rule::kLocal || rule == dispatch::Rule::kSglang;
  const std::size_t sources = attention == Attention::kTensorParallel ? topology.gpus_per_node : 1;
  for (std::size_t layer = 0; layer < layers_; ++layer) {
    dispatch::Chooser chooser(topology, experts_, placement.layer(layer), rule, placement.layers()[layer], 0);
    for (std::size_t home = 0; home < homes_; ++home) {
      for (std::size_t expert = 0; expert < experts_; ++expert) {
        float* const share = share_.data() + ((home * layers_ + layer) * experts_ + expert) * nodes_;
        const auto serves = [&](GpuId gpu, std::size_t among) {
          share[index(topology.node_of(gpu))] += 1 / static_cast<float>(among);
        };
        if (by_source) {
          for (std::size_t local = 0; local < sources; ++local) {
            const GpuId source = topology.source_gpu(HomeId(home), local, attention);
            serves(chooser.choose({.expert = ExpertId(expert), .source = source}), sources);
          }
        } else {
          const std::span<const GpuId> candidates = chooser.candidates(ExpertId(expert));
          for (const GpuId gpu : candidates) serves(gpu, candidates.size());
        }
        share[index(topology.node_of_home(HomeId(home), attention))] = 0;
      }
    }
  }
}

double ExpectedCopies::at(std::size_t home, std::span<const float> probabilities) const {
  MOESAIC_CHECK(home < homes_ && probabilities.size() == layers_ * experts_);
  std::vector<float> stays(nodes_);  // chance that a node is not reached; per expert, 1 - rows that reach it
  double copies = 0;
  const float* share = share_.data() + home * layers_ * experts_ * nodes_;
  for (std::size_t layer = 0; layer < layers_; ++layer) {
    std::ranges::fill(stays, 1.0f);
    for (std::size_t expert = 0; expert < experts_; ++expert, share += nodes_) {
      const float p = probabilities[layer * experts_ + expert];
      if (p == 0) continue;
      for (std::size_t node = 0; node < nodes_; ++node) {
        if (mode_ == CopyMode::kDedup) {
          stays[node] *= 1 - p * share[node];
        } else {
          stays[node] -= p * share[node];
        }
      }
    }
    for (const float stay : stays) copies += 1 - static_cast<double>(stay);
  }
  return copies;
}

void ExpectedCopies::of(std::span<const float> probabilities, std::span<double> out) const {
  MOESAIC_CHECK(out.size() == homes_);
  for (std::size_t home = 0; home < homes_; ++home) out[home] = at(home, probabilities);
}

}  // namespace moesaic::grouping
