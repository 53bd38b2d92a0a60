// A plan: where every expert lies, how requests find their homes, and what it was made from. plan.json
// (schema moesaic.plan/1, docs/plan.md) is its one form on disk: canonical JSON, so reading a plan and
// writing it again gives the same bytes.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "artifact/sections.hpp"
#include "core/homes.hpp"
#include "core/json.hpp"
#include "core/model_shape.hpp"
#include "core/placement.hpp"
#include "core/result.hpp"
#include "core/topology.hpp"
#include "dispatch/dispatch.hpp"
#include "io/files.hpp"
#include "signature/assigner.hpp"

namespace moesaic::artifact {

inline constexpr std::string_view kPlanSchema = "moesaic.plan/1";

/// How good the placement is known to be.
enum class Label {
  kHeuristic,
  kProven,
  kTimeLimited,  ///< a time limit cut the search: another run may give other bytes
};
std::string_view name(Label label);

/// How the placement was made: enough to make it again.
struct PlanAlgorithm {
  std::string name;
  std::uint64_t seed = 0;
  std::uint64_t effort = 1;
  std::size_t expert_groups = 1;
  double max_imbalance = 0;       ///< 0 = no limit was asked for
  Json options = Json::Object{};  ///< what else the algorithm was told; an object
  bool operator==(const PlanAlgorithm&) const = default;
};

struct Plan {
  std::string made_by = {};  ///< program and version
  ModelShape shape;
  Placement placement;  ///< also holds the topology
  Attention attention = Attention::kDataParallel;
  dispatch::Rule dispatch = dispatch::Rule::kLocal;
  PlanAlgorithm algorithm = {};
  PlanSource source = {};
  /// Loads it was planned on, [L, E] row-major: rows, or shares where the trace had only those. Load-only
  /// baselines and `verify` start from them.
  std::vector<double> loads = {};
  /// Homes of the planning requests, by request id; empty when the plan has none.
  std::map<std::string, HomeId, std::less<>> homes = {};
  /// How an unseen request finds its home; absent for plans from bare counts.
  std::optional<signature::Assigner> assigner = {};
  bool constraints_met = true;
  Label label = Label::kHeuristic;
  /// The machines, where some of their GPUs are left out: the plan is for the others. REQUIRES: remaining()
  /// of it is the placement's topology.
  std::optional<Cluster> cluster = {};
  std::vector<std::string> notes = {};  ///< full sentences for the reader
  Json score = Json::Object{};          ///< held-out score and baselines; an object, its schema is evaluate's

  bool operator==(const Plan&) const = default;
};

/// Canonical text with a newline at its end. REQUIRES: loads of L x E, homes inside the topology, a
/// valid assigner to homes, objects where the fields say so. O(size).
std::string to_json(const Plan& plan);

/// Inverse of to_json. Errors (bad input) name `where`, the key path, what was found and expected: another
/// schema, a missing or unknown key, a wrong type, shape or range, an expert without a slot.
Result<Plan> parse_plan(std::string_view text, const std::string& where);

/// Reads a file of at most limits::kMaxConfigBytes.
Result<Plan> read_plan(io::FileSystem& files, const std::string& path);
/// Whole or not at all; an existing file is refused unless `force`.
Status write_plan(io::FileSystem& files, const std::string& path, const Plan& plan, bool force);

}  // namespace moesaic::artifact
