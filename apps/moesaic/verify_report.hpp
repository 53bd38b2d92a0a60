// What `moesaic verify` found, for people and as JSON.
#pragma once

#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "core/json.hpp"
#include "evaluate/drift.hpp"
#include "evaluate/running_plan.hpp"
#include "evaluate/score.hpp"

namespace moesaic::app {

/// What was found, as it is printed and written.
struct VerifyReport {
  std::optional<evaluate::RunningPlan> running;
  evaluate::Drift drift;
  std::vector<evaluate::Drift> parts;
  evaluate::ObservedLoads loads;
  double heldout_gpu = NAN, heldout_copies = NAN;  ///< of the plan's own score
  double eplb_gpu = NAN;                           ///< an EPLB plan of the observed loads, on them
  std::optional<evaluate::Score> observed;         ///< with homes: copies
  bool of_counts = false;                          ///< the dump holds counts, not tokens
  bool imbalanced = false, more_copies = false;
  std::optional<std::size_t> since;  ///< first part from which all are out of balance

  bool runs() const { return !running || running->runs(); }
  bool replan() const { return imbalanced || more_copies; }
};

/// The table of docs/verify.md and what stands around it, all but the verdict of exit code 1.
std::string verify_text(const std::string& plan, double tolerance, const VerifyReport& report);
/// docs/schemas/verify.schema.json.
Json verify_json(const std::string& plan, const std::vector<std::string>& dumps, double tolerance,
                 const VerifyReport& report);

}  // namespace moesaic::app
