// `moesaic plan --sweep`: what replicas buy, as a table and JSON. Writes no plan.
#pragma once

#include <string>
#include <vector>

#include "command.hpp"
#include "plan_options.hpp"
#include "time_table.hpp"

namespace moesaic::app {

struct SweepOptions {
  bool on = false;
  std::vector<std::size_t> extra_slots;               ///< a layer; empty = 0, 25, 50, 100 % of the experts
  std::vector<double> imbalances = {1.03, 1.1, 1.3};  ///< --max-imbalance of each plan
  TimeOptions time;

  void add(CLI::App& command);
};

/// Files to write; "" = none.
struct SweepFiles {
  std::string json, html;
};

/// Plans the train requests of `trace` at every point with `algorithm`; prints and writes held-out scores.
Status run_sweep(Context& context, const SweepOptions& sweep, const PlanOptions& options,
                 const std::string& algorithm, const std::string& trace, const SweepFiles& write);

}  // namespace moesaic::app
