// How long decode steps of held-out tokens would take under placements: their copies, weights and rows,
// GPU by GPU and step by step, through the model of cost/layer_time.hpp. A model, not a measurement.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/homes.hpp"
#include "core/placement.hpp"
#include "core/result.hpp"
#include "core/thread_pool.hpp"
#include "cost/layer_time.hpp"
#include "evaluate/selected_tokens.hpp"
#include "traffic/score.hpp"

namespace moesaic::evaluate {

/// One placement with one kind of kernel: sums over all steps and MoE layers.
struct ModeTime {
  cost::LayerTime sum;
  Nanoseconds balanced{0};  ///< the same traffic, weights and rows spread evenly: the bound of balancing
};

struct StepTimes {
  ModeTime dedup, per_expert;
};

struct TimedSteps {
  std::size_t steps = 0;
  std::size_t tokens = 0;             ///< in all of them; tokens_per_gpu x GPUs x steps but for rounding
  std::size_t requests_per_home = 0;  ///< mean, rounded down: fewer than a home's batch repeats requests
  std::vector<StepTimes> placements;  ///< in the order given
  std::vector<std::vector<StepTimes>> layers;  ///< [layers][placements]: what they are the sums of
};

struct TimeOptions {
  traffic::Objective objective;
  std::size_t tokens_per_gpu = 256;  ///< in a step, mean
  cost::LayerCosts costs;
};

/// Steps are even (traffic::make_even_steps) and the same for every placement. Parallel over layers; sums of
/// whole nanoseconds, so the result does not depend on the thread count. Errors: bad input when the tokens do
/// not fill one step; the message says how many a GPU there are. REQUIRES: as score_placements, one topology.
Result<TimedSteps> time_placements(const SelectedTokens& tokens, const Homes& homes,
                                   std::span<const Placement* const> placements, const TimeOptions& options,
                                   ThreadPool& pool);

}  // namespace moesaic::evaluate
