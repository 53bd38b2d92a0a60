// `moesaic plan --from`: a running plan changed within a budget, what that moves and what it gains.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "artifact/plan.hpp"
#include "command.hpp"
#include "plan_options.hpp"
#include "planning/plan_maker.hpp"

namespace moesaic::app {

struct ChangeOptions {
  std::string from;
  std::optional<std::size_t> max_moves;
  std::optional<double> max_bytes;

  void add(CLI::App& command);
  /// Errors (bad input): a budget without --from, or two.
  Status check() const;
};

/// What changing a running plan came to, for the table, the JSON and the page.
struct Change {
  planning::Changed changed;
  double expert_bytes = 0;  ///< 0 = not known
  std::size_t slots = 0;    ///< of all layers
  planning::NamedScore before, after;
};

struct ChangedPlan {
  artifact::Plan plan;
  Change change;
  std::vector<planning::NamedScore> scores;  ///< the plan's first, then baselines
};

/// Changes the plan of options.from: its homes stay, its experts move within the budget. `score` is scored
/// with the running plan's attention. Errors (bad input): no such plan, of another shape, or planned from
/// counts; (environment): ranks that read different plans.
Result<ChangedPlan> change_plan(Context& context, const ChangeOptions& options, Resolved& resolved,
                                const trace::Trace& trace, const planning::PlaceOptions& place,
                                const evaluate::ScoreOptions& score, ThreadPool& pool);

/// The `change` object of `plan --json`.
Json change_json(const Change& change, bool per_expert);
void print_change(const Change& change, bool per_expert);

}  // namespace moesaic::app
