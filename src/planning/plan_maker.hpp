// From a trace to plans and their held-out scores.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "artifact/plan.hpp"
#include "comm/comm.hpp"
#include "core/result.hpp"
#include "core/thread_pool.hpp"
#include "evaluate/score.hpp"
#include "placement/algorithm.hpp"
#include "placement/replan.hpp"
#include "placement/transfers.hpp"
#include "planning/split.hpp"
#include "trace/trace.hpp"

namespace moesaic::planning {

struct PlaceOptions {
  std::string algorithm;
  std::size_t slots_per_gpu = 0;
  traffic::Objective objective;
  std::uint64_t seed = 0;
  std::uint64_t effort = 1;
  std::size_t expert_groups = 1;
  double max_imbalance = 0;
  double mean_imbalance = 0;              ///< as Problem::mean_imbalance
  comm::Comm* comm = &comm::one_rank();   ///< ranks that share the layers; each makes the same plan
  const Placement* from = nullptr;        ///< the running placement, for algorithms that change one
  std::vector<placement::Pin> pins = {};  ///< copies that must lie somewhere; checked against the slots
  bool per_expert = false;  ///< optimise copies per row (low-latency kernels), else per distinct node
};

/// Runs one algorithm on the planned part of a split. Errors (bad input): pins that cannot be met, or that
/// the algorithm does not keep; a mean imbalance that it cannot plan for.
Result<placement::Solution> place(const Split& split, const PlaceOptions& options, ThreadPool& pool);

/// The same on the scored part, with the homes of its requests: an oracle for held-out scores.
Result<placement::Solution> place_on_scored(const Split& split, const PlaceOptions& options,
                                            ThreadPool& pool);

/// As place(), but on all requests of the split, planned and scored, in their homes: an oracle of what a plan
/// may hope for that serves all of this traffic. A best plan for n requests sends on them, in expectation, no
/// more than any plan sends on fresh ones of their kind, and less the fewer they are (Mak, Morton, Wood
/// 1999).
Result<placement::Solution> place_on_all(const Split& split, const PlaceOptions& options, ThreadPool& pool);

/// As place() with every token of planned request i counting weights[i] times, in load too. Errors as
/// place(). REQUIRES: the algorithm weighs_tokens(); a limit, options.max_imbalance > 0.
Result<placement::Solution> place_weighted(const Split& split, std::span<const std::uint32_t> weights,
                                           const PlaceOptions& options, ThreadPool& pool);

/// Whether options.algorithm can plan for a mean imbalance that the layers share. Errors (bad input) say why
/// not.
Status can_share_imbalance(const ModelShape& shape, const Topology& topology, const PlaceOptions& options);

/// Node max/mean that requests the plan was not made on will find, mean over layers: as
/// Problem::mean_imbalance is measured. REQUIRES: no replicas. Cost: reads the planned tokens.
Result<double> unseen_imbalance(const Split& split, const Placement& placement, ThreadPool& pool);

/// A score and whose it is.
struct NamedScore {
  std::string name;
  evaluate::Score score;
};

/// Scores `own` (may be empty) and the baselines on the scored part of a split, in one pass. Baselines come
/// last, in their order; seeds are averaged.
struct NamedPlacement {
  std::string name;
  const Placement* placement = nullptr;
};
Result<std::vector<NamedScore>> score_split(const Split& split, std::span<const NamedPlacement> own,
                                            bool with_baselines, const PlaceOptions& options,
                                            const evaluate::ScoreOptions& score, ThreadPool& pool);

/// As score_split, for any requests, homes and planning loads: what `evaluate` does.
Result<std::vector<NamedScore>> score_tokens(const evaluate::SelectedTokens& tokens, const Homes& homes,
                                             std::span<const NamedPlacement> own, const Topology& topology,
                                             std::size_t slots_per_gpu, std::size_t expert_groups,
                                             const std::vector<double>& loads,
                                             const evaluate::ScoreOptions& score, ThreadPool& pool);

/// {"<own keys>": ..., "baselines": {name: {...}}}: scores[0] is the plan's, the others baselines.
Json score_json(std::span<const NamedScore> scores, bool layers);

/// A running placement changed within a budget.
struct Changed {
  placement::Solution solution;
  placement::Transfers transfers;
  std::size_t moves_to_goal = 0;              ///< that the whole gain would need
  std::vector<placement::ReplanPoint> curve;  ///< of gain over moves, on the planning tokens
};
/// `from` towards what options.algorithm makes of the split: all the way, or with `max_moves` as far as that
/// many moved experts gain most by `moesaic`'s objective. Errors: as placement::replan().
Result<Changed> change(const Split& split, const PlaceOptions& options, const Placement& from,
                       std::optional<std::size_t> max_moves, ThreadPool& pool);

/// A whole plan of a token trace, its held-out score and baselines inside: of `solution`, or (make_plan) of
/// what the algorithm makes. `scores`: the same with their layers, the plan's first.
Result<artifact::Plan> plan_with(const Split& split, placement::Solution solution,
                                 const PlaceOptions& options, const evaluate::ScoreOptions& score,
                                 ThreadPool& pool, std::vector<NamedScore>* scores = nullptr);
Result<artifact::Plan> make_plan(const Split& split, const PlaceOptions& options,
                                 const evaluate::ScoreOptions& score, ThreadPool& pool,
                                 std::vector<NamedScore>* scores = nullptr);

/// Windows [first, last) of a counts trace.
struct Windows {
  std::uint32_t first = 0, last = 0xFFFFFFFF;
  bool operator==(const Windows&) const = default;
};
/// Sum of the count rows of a phase (kAll: every row) and windows, [L, E]. Errors: no such rows.
Result<std::vector<double>> count_loads(const trace::Trace& trace, Phase phase, const Windows& windows);

/// A plan of a counts trace: load-based algorithms only. Scored on the windows after those it was planned
/// on where there are any, else on its own (in_sample: true).
Result<artifact::Plan> make_counts_plan(const trace::Trace& trace, const Topology& topology, Phase phase,
                                        const Windows& windows, const PlaceOptions& options, ThreadPool& pool,
                                        std::vector<NamedScore>* scores = nullptr);

}  // namespace moesaic::planning
