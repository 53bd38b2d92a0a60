// `moesaic plan --robust`: a plan for the worst or the mean of several parts of the traffic, and how each
// part fares on what was planned on and on what was not.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "planning/robust.hpp"
#include "report/table.hpp"

namespace moesaic::app {

struct RobustChoice {
  std::string parts, goal = "worst";
  std::vector<double> weights;

  bool on() const { return !parts.empty(); }
  void add(CLI::App& command);
};

/// What was made, for the table, the JSON and the plan.
struct RobustReport {
  planning::Parts parts;
  planning::RobustGoal goal = planning::RobustGoal::kWorst;
  planning::RobustPlan plan;
};

/// Errors (bad input): as parse_parts(), parts_of() and robust_plan(); another goal; weights without mean.
Result<RobustReport> make_robust(const RobustChoice& choice, const planning::Split& split,
                                 const planning::PlaceOptions& options, const evaluate::ScoreOptions& score,
                                 ThreadPool& pool);

/// A row a part, and the worst and mean of all: planned and held-out copies and balance, plain beside robust.
report::Table robust_table(const RobustReport& report, bool per_expert);
/// Parts that alone are above the limit where planned on, node or GPU max/mean as mean over layers; none
/// without a limit (0).
std::vector<std::size_t> parts_above(const RobustReport& report, double max_imbalance);
/// The sentences that the plan keeps.
std::vector<std::string> robust_notes(const RobustReport& report, bool per_expert, double max_imbalance);
/// plan.json's algorithm.options.robust, and the `robust` object of `plan --json`.
Json robust_options(const RobustReport& report);
Json robust_json(const RobustReport& report);

}  // namespace moesaic::app
