// What every GPU sends, receives, reads and computes in every step of a layer: the counts a time is made
// of (cost/layer_time.hpp). Summed over steps and GPUs they are those of score_layer (traffic/score.hpp).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cost/layer_time.hpp"
#include "traffic/score.hpp"

namespace moesaic::traffic {

/// In Steps::of_token: dispatched, because replica choice may depend on it, but in no step.
inline constexpr std::uint32_t kNoStep = 0xFFFFFFFF;

/// [steps, GPUs] each. Experts and rows are the same in both; copies are as score.hpp defines them:
/// dedup       source -> the landing GPU of each remote node over RDMA, from there (at home: from the
///             source) -> each other GPU used on that node over NVLink.
/// per_expert  source -> the expert's GPU, a copy a row, over the link between them.
struct StepFlows {
  std::vector<cost::GpuWork> dedup, per_expert;
};

/// REQUIRES: as score_layer. O(rows x replicas); memory: steps x GPUs x (experts / 8 + 96) bytes.
StepFlows step_flows(const LayerTokens& tokens, const Topology& topology, std::size_t experts,
                     std::span<const ExpertId> slots, const Objective& objective, const Steps& steps);

/// Steps of one length: every home runs all of its requests at once, the j-th token of each before the next
/// of any, and spreads them evenly over the steps, so a home with twice the tokens runs twice as many in
/// each. As many steps as the tokens fill; what is left over, of each home in proportion, is in none. A home
/// with fewer requests than tokens a step runs several tokens of a request in one step. REQUIRES:
/// tokens_per_step > 0, homes below `homes`. O(tokens).
Steps make_even_steps(std::span<const Segment> segments, std::size_t homes, std::size_t tokens_per_step);

}  // namespace moesaic::traffic
