// TensorRT-LLM's expert placement (cpp/tensorrt_llm/runtime/moeLoadBalancer/moeLoadBalancer.cpp at commit
// 0d919a4, doReplication and doPlacement), reproduced exactly, and its co-occurrence variant.
//
//   replication  a copy more for the expert with the largest load / copies; ties to the larger id
//   placement    copies by descending load (ties: smaller id) onto the least loaded rank with room (ties:
//                lower rank)
// Loads are float32, sums double. It may put two copies of an expert on one rank.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/ids.hpp"

namespace moesaic::placement::trtllm {

/// Copies of each expert; they sum to `slots`. Without any load: as even as can be, first experts get one
/// more. REQUIRES: slots >= loads.size() > 0, loads >= 0. O(slots log E).
std::vector<std::size_t> replicate(std::span<const float> loads, std::size_t slots);

/// Fills `slots` ([ranks x per_rank], rank-major) from empty. REQUIRES: copies sum to slots.size(),
/// slots.size() % ranks == 0. O(slots log slots).
void place(std::span<const float> loads, std::span<const std::size_t> copies, std::size_t ranks,
           std::span<ExpertId> slots);

/// The same from a rank-major layout that is partly filled: `left` are the copies still to place, and
/// kMissingExpert marks a free slot.
void place_rest(std::span<const float> loads, std::span<const std::size_t> copies,
                std::span<const std::size_t> left, std::size_t ranks, std::span<ExpertId> slots);

}  // namespace moesaic::placement::trtllm
