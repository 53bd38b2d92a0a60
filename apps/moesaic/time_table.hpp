// Modelled step times, on a terminal and in JSON: what `evaluate --time` and `plan --sweep --time` say.
#pragma once

#include <CLI/CLI.hpp>
#include <span>
#include <string>
#include <vector>

#include "core/json.hpp"
#include "cost/model_preset.hpp"
#include "cost/step_time.hpp"
#include "evaluate/step_times.hpp"
#include "planning/plan_maker.hpp"

namespace moesaic::app {

struct TimeOptions {
  bool on = false;
  std::string hardware = "h100";
  std::size_t batch = 256;

  void add(CLI::App& command);
};

/// Everything that is printed: modelled times of named placements, the one to compare with among them.
struct TimeReport {
  std::string hardware;
  cost::ModelPreset model;  ///< whose bytes and flops; layers are the trace's
  ModelShape shape;
  std::size_t tokens_per_gpu = 0;
  cost::StepAssumptions assumed;
  evaluate::TimedSteps timed;
  std::vector<std::string> names;  ///< of timed.placements; in `evaluate`: the plan, linear, others
  std::vector<std::string> said;   ///< what does not fit, full sentences
};

/// Times named placements on the same tokens and homes. Errors (bad input): no preset, no such hardware,
/// tokens that do not fill a step.
Result<TimeReport> time_report(const TimeOptions& options, const cost::ModelPreset* preset,
                               const evaluate::SelectedTokens& tokens, const Homes& homes,
                               std::span<const planning::NamedPlacement> placements,
                               const traffic::Objective& objective, ThreadPool& pool);

/// A step of one placement: all MoE layers and the assumed rest.
double step_ms(const TimeReport& report, const evaluate::ModeTime& time);

/// A row a placement and kind of kernel, and the sentences that say what the figures are.
std::string time_table(const TimeReport& report);
/// The `time` object of `evaluate --json`.
Json time_json(const TimeReport& report);

}  // namespace moesaic::app
