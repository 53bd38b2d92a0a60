// Step times on a terminal and in JSON: what `evaluate --time` says.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "core/json.hpp"
#include "cost/model_preset.hpp"
#include "cost/step_time.hpp"
#include "evaluate/step_times.hpp"

namespace moesaic::app {

/// Everything that is printed: modelled times of named placements, the one to compare with among them.
struct TimeReport {
  std::string hardware;
  const cost::ModelPreset* model = nullptr;  ///< whose bytes and flops; layers are the trace's
  ModelShape shape;
  std::size_t tokens_per_gpu = 0;
  cost::StepAssumptions assumed;
  evaluate::TimedSteps timed;
  std::vector<std::string> names;  ///< of timed.placements; the plan first, then linear, then others
};

/// A row a placement and kind of kernel, and the sentences that say what the figures are.
std::string time_table(const TimeReport& report);
/// The `time` object of `evaluate --json`.
Json time_json(const TimeReport& report);

}  // namespace moesaic::app
