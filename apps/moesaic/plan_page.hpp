// The page of `moesaic plan --html`: what a plan changes, where, and how sure that is.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "artifact/plan.hpp"
#include "plan_change.hpp"
#include "plan_robust.hpp"
#include "planning/plan_maker.hpp"
#include "report/page.hpp"

namespace moesaic::app {

/// Everything a plan's page shows. Pointers may be null.
struct PlanShown {
  const artifact::Plan& plan;
  std::string path, trace;
  /// Held-out scores with their layers: the plan first, then baselines; linear and eplb are drawn.
  std::span<const planning::NamedScore> scores;
  const Change* change = nullptr;        ///< with --from
  const RobustReport* robust = nullptr;  ///< with --robust
  double expert_bytes = 0;               ///< 0 = not known
  bool per_expert = false;               ///< copies that count
  std::vector<std::string> said;         ///< what was assumed, full sentences
};

report::Page plan_page(const PlanShown& shown);

}  // namespace moesaic::app
