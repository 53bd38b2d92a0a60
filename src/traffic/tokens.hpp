// The tokens that a placement is scored on: spans of requests, layer by layer, and when they run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/ids.hpp"
#include "core/topology.hpp"

namespace moesaic::traffic {

/// The scored tokens of one request. Segments of a layer come in request order.
struct Segment {
  std::uint32_t request = 0;  ///< store index
  HomeId home{};
  std::uint64_t position = 0;  ///< of the first token in its request, prefill first
  std::size_t begin = 0;       ///< of the first token in LayerTokens::experts, in tokens
  std::size_t count = 0;
};

/// One layer's view. `experts` is [tokens, k]; kMissingExpert entries send nothing.
struct LayerTokens {
  LayerId layer{};
  std::size_t k = 0;
  std::span<const ExpertId> experts;
  std::span<const Segment> segments;
};

/// The synchronous step in which each token runs: every home runs batches of `requests_per_home`
/// requests in segment order, a batch's step j holds the j-th tokens of its requests, a home's batches
/// follow each other, and all homes run in lockstep. The same for every layer.
struct Steps {
  std::size_t count = 0;
  std::vector<std::uint32_t> of_token;  ///< [tokens], by LayerTokens position
};

/// REQUIRES: requests_per_home > 0, homes below `homes`. O(tokens).
Steps make_steps(std::span<const Segment> segments, std::size_t homes, std::size_t requests_per_home);

}  // namespace moesaic::traffic
