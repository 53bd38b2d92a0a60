// The walk over a layer's rows that all counts of traffic are made from: every expert of every token, with
// the GPU that serves it, in the order in which replicas are chosen.
#pragma once

#include <cstddef>
#include <span>

#include "core/check.hpp"
#include "core/limits.hpp"
#include "dispatch/dispatch.hpp"
#include "traffic/score.hpp"

namespace moesaic::traffic {

/// For each token, token(its index in LayerTokens, its home GPU) gives what takes the token's rows, as
/// row(expert, GPU that serves it). REQUIRES: as score_layer. O(rows x replicas).
template <class Token>
void for_each_row(const LayerTokens& tokens, const Topology& topology, std::size_t experts,
                  std::span<const ExpertId> slots, const Objective& objective, Token token) {
  const std::size_t k = tokens.k;
  MOESAIC_CHECK(k > 0 && k <= limits::kMaxTopK && tokens.experts.size() % k == 0);
  dispatch::Chooser chooser(topology, experts, slots, objective.rule, tokens.layer, objective.seed);
  for (const Segment& segment : tokens.segments) {
    for (std::size_t j = 0; j < segment.count; ++j) {
      const std::size_t at = segment.begin + j;
      const std::uint64_t position = segment.position + j;
      const GpuId source = topology.source_gpu(segment.home, position, objective.attention);
      auto row = token(at, source);
      for (const ExpertId expert : tokens.experts.subspan(at * k, k)) {
        if (expert == kMissingExpert) continue;
        row(expert,
            chooser.choose(
                {.expert = expert, .source = source, .request = segment.request, .position = position}));
      }
    }
  }
}

}  // namespace moesaic::traffic
