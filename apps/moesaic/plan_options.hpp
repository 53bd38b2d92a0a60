// Options that `plan`, `compare` and `evaluate` share.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>

#include "core/result.hpp"
#include "core/selection.hpp"
#include "core/thread_pool.hpp"
#include "core/topology.hpp"
#include "cost/model_preset.hpp"
#include "dispatch/dispatch.hpp"
#include "evaluate/unseen_homes.hpp"
#include "io/files.hpp"
#include "placement/pins.hpp"
#include "planning/plan_maker.hpp"
#include "planning/slots.hpp"
#include "planning/split.hpp"
#include "trace/trace.hpp"

namespace moesaic::app {

/// As typed; resolve() turns it into values that fit a trace.
struct PlanOptions {
  std::size_t nodes = 1, gpus_per_node = 1;
  std::string attention = "dp", dispatch = "local", assign = "after-prefill", model;
  bool oracles = false;  ///< whether --assign may be told; set before add_scoring()
  std::optional<std::string> phase, predict_from;
  std::optional<std::size_t> slots_per_gpu, extra_slots;
  std::optional<double> memory_gib;
  double home_slack = 0.1;
  std::size_t step_tokens = 8, expert_groups = 1, threads = 0;
  std::uint64_t seed = 0, effort = 1;
  double max_imbalance = 0;
  double mean_imbalance = 0;
  std::string optimize = "dedup";
  std::vector<std::string> domains, score_domains, pins;
  std::vector<std::uint32_t> missing_gpus;

  bool optimizes_time() const { return optimize == "time" || optimize == "time-per-expert"; }
  bool counts_rows() const { return optimize.ends_with("per-expert"); }

  void add_topology(CLI::App& command);
  void add_scoring(CLI::App& command);
  void add_planning(CLI::App& command);
};

/// Nodes and GPUs without those of --missing-gpus; the cluster where there are any.
struct UsableGpus {
  Topology topology;
  std::optional<Cluster> cluster;
};
Result<UsableGpus> usable_gpus(const PlanOptions& options);

struct Resolved {
  planning::SplitOptions split;  ///< for token traces
  dispatch::Rule rule = dispatch::Rule::kLocal;
  std::size_t slots_per_gpu = 0;
  double bytes_per_copy = 0;  ///< NaN when the model is not known
  double expert_bytes = 0;    ///< 0 when not known
  std::vector<placement::Pin> pins;
  std::optional<Cluster> cluster;  ///< where --missing-gpus leaves some out; split.topology is the rest
  std::vector<std::string> said;   ///< what was assumed, full sentences
};

/// What the planner is told, of the options and of what they came to.
Result<planning::PlaceOptions> place_options(const PlanOptions& options, const Resolved& resolved,
                                             const std::string& algorithm);

/// What --model is, for every command that has it.
inline constexpr const char* kModelHelp =
    "Model preset or a YAML file with one, for sizes (default: by the trace's model name)";
/// The model that --model names, else the preset of the trace's own model name; nothing when there is none.
Result<std::optional<cost::ModelPreset>> preset_of(io::FileSystem& files, const std::string& model,
                                                   const trace::Trace& trace);
/// Rows of the requests that are another one recorded again, token for token: planned on and scored on, they
/// would flatter a plan. REQUIRES: kTokens.
Result<std::vector<std::uint32_t>> recorded_again(const trace::Trace& trace, ThreadPool& pool);
/// `files`: where --pin @FILE and --model FILE are read.
Result<Resolved> resolve(io::FileSystem& files, const PlanOptions& options, const trace::Trace& trace,
                         ThreadPool& pool);

}  // namespace moesaic::app
