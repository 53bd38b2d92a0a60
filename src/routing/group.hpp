// `group`: requests to the homes of a plan. In aggregated serving a plan gains only when requests run where
// it wants them: the plan's assigner scores every home by the request's signature, and the best one whose
// load is within its share takes it (docs/plan.md, "homes"; the rule of `moesaic evaluate`, which counts all
// requests so far where this counts those in flight).
#pragma once

#include <cstddef>
#include <memory>

#include "routing/policy.hpp"
#include "signature/assigner.hpp"

namespace moesaic::routing {

struct GroupOptions {
  signature::Assigner assigner{};  ///< bound to the layer rows of the counts
  std::size_t layer_rows = 0;      ///< of the counts; requests with counts of another size go by load
  /// A home takes requests while it has at most (1 + slack) x its share of those in flight +
  /// `grace_requests`.
  double slack = 0.1;
  double grace_requests = 1;
};

/// Workers name the home they serve; several may serve one (the least loaded gets the request), and one that
/// names none, or one that the plan lacks, joins the home that fewest serve. Homes that nobody up serves give
/// their shares to the others; so do full ones while others have room. Without usage: by load.
/// admit(): O(homes x signature + workers), no allocation.
/// REQUIRES: a valid, bound assigner whose rows are below layer_rows; slack, grace_requests >= 0.
std::unique_ptr<DecodePolicy> make_group(GroupOptions options);

}  // namespace moesaic::routing
