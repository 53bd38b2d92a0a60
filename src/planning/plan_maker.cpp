#include "planning/plan_maker.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>

#include "comm/deal.hpp"
#include "core/version.hpp"
#include "dispatch/dispatch.hpp"
#include "placement/unseen_loads.hpp"
#include "planning/baselines.hpp"
#include "planning/demands.hpp"
#include "planning/pin_list.hpp"

namespace moesaic::planning {
namespace {

/// Layers dealt out to the ranks as they get on: what a search takes is not known beforehand.
class CommShare final : public placement::LayerShare {
 public:
  explicit CommShare(comm::Comm& comm) : comm_(comm) {}
  Status run(std::size_t layers, ThreadPool* pool, const std::function<Status(std::size_t)>& body) override {
    comm::Deal deal(comm_, layers);
    const auto until_none_is_left = [&](std::size_t) -> Status {
      while (true) {
        MOESAIC_ASSIGN(const std::optional<std::size_t> row, deal.next());
        if (!row) return {};
        MOESAIC_TRY(body(*row));
      }
    };
    Status planned =
        pool != nullptr ? pool->try_parallel_for(pool->threads(), until_none_is_left) : until_none_is_left(0);
    mine_ = deal.mine();
    MOESAIC_TRY(deal.finish());
    return planned;
  }
  bool mine(std::size_t row) const override { return mine_[row]; }
  Status sum(std::span<std::int64_t> values, const Status& mine) const override {
    MOESAIC_TRY(comm::agree(comm_, mine));
    return comm_.all_sum(values);
  }

 private:
  comm::Comm& comm_;
  std::vector<bool> mine_;
};

placement::Problem problem_of(const placement::Demand& demand, const Topology& topology,
                              const PlaceOptions& options, ThreadPool& pool) {
  return {.demand = demand,
          .topology = topology,
          .slots_per_gpu = options.slots_per_gpu,
          .objective = options.objective,
          .seed = options.seed,
          .expert_groups = options.expert_groups,
          .max_imbalance = options.max_imbalance,
          .mean_imbalance = options.mean_imbalance,
          .per_expert = options.per_expert,
          .effort = options.effort,
          .from = options.from,
          .pool = &pool};
}

/// options.pins as the algorithm gets them.
Result<std::vector<placement::Pin>> pins_for(const placement::Algorithm& algorithm,
                                             const placement::Problem& problem, const PlaceOptions& options) {
  if (!options.pins.empty() && !algorithm.keeps_pins()) {
    return bad_input(fmt::format(
        "--pin: --algorithm {} reproduces what others do and keeps no expert in place; use moesaic.",
        algorithm.name()));
  }
  return placement::checked_pins(options.pins, problem.demand.shape(), problem.topology,
                                 problem.slots_per_gpu);
}

/// What the placement was told and does not do.
void verify_pins(const PlaceOptions& options, artifact::Plan& plan) {
  for (const placement::Pin& pin : placement::unmet_pins(options.pins, plan.placement)) {
    plan.constraints_met = false;
    plan.notes.push_back(fmt::format("A pin is missed: {}.", placement::to_string(pin, plan.placement)));
  }
}

artifact::Plan plan_of(placement::Solution solution, const trace::Trace& trace, const PlaceOptions& options) {
  artifact::Plan plan{.made_by = fmt::format("moesaic {}", version()),
                      .shape = trace.shape(),
                      .placement = std::move(solution.placement)};
  plan.attention = options.objective.attention;
  plan.dispatch = options.objective.rule;
  plan.algorithm = {.name = options.algorithm,
                    .seed = options.seed,
                    .effort = options.effort,
                    .expert_groups = options.expert_groups,
                    .max_imbalance = options.max_imbalance};
  if (options.per_expert) plan.algorithm.options["optimize"] = "per-expert";
  if (options.mean_imbalance > 0) plan.algorithm.options["mean_imbalance"] = options.mean_imbalance;
  if (!options.pins.empty()) plan.algorithm.options["pins"] = pins_json(options.pins, plan.shape);
  plan.source.trace_digest = trace.digest();
  plan.source.trace_name = std::filesystem::path(trace.path()).filename().string();
  plan.label =
      solution.proof == placement::Proof::kProven ? artifact::Label::kProven : artifact::Label::kHeuristic;
  plan.notes = std::move(solution.notes);
  verify_pins(options, plan);
  return plan;
}

}  // namespace

namespace {

Result<placement::Solution> place_on(const placement::Demand& demand, const Split& split,
                                     const PlaceOptions& options, ThreadPool& pool) {
  MOESAIC_ASSIGN(const placement::Algorithm* const algorithm, placement::find_algorithm(options.algorithm));
  CommShare share(*options.comm);
  placement::Problem problem = problem_of(demand, split.options().topology, options, pool);
  MOESAIC_ASSIGN(const std::vector<placement::Pin> pins, pins_for(*algorithm, problem, options));
  problem.pins = pins;
  if (options.mean_imbalance > 0)
    MOESAIC_TRY(can_share_imbalance(demand.shape(), split.options().topology, options));
  if (options.comm->size() > 1) problem.share = &share;
  return algorithm->place(problem);
}

}  // namespace

Result<placement::Solution> place(const Split& split, const PlaceOptions& options, ThreadPool& pool) {
  return place_on(TraceDemand(split.planned(), split.planned_homes().of_request, split.loads()), split,
                  options, pool);
}

Status can_share_imbalance(const ModelShape& shape, const Topology& topology, const PlaceOptions& options) {
  MOESAIC_ASSIGN(const placement::Algorithm* const algorithm, placement::find_algorithm(options.algorithm));
  const auto no = [](std::string_view why) {
    return bad_input(fmt::format("--mean-imbalance: {}; use --max-imbalance.", why));
  };
  if (!algorithm->shares_imbalance()) {
    return no(fmt::format("--algorithm {} has no such limit", algorithm->name()));
  }
  if (topology.nodes < 2) return no("on one node no load can be shared between nodes");
  if (options.slots_per_gpu * topology.gpus() != shape.experts) {
    return no("with replicas every layer keeps a limit of its own");
  }
  if (!options.pins.empty() || options.from != nullptr) {
    return no("with pinned experts or a running plan every layer keeps a limit of its own");
  }
  return {};
}

Result<double> unseen_imbalance(const Split& split, const Placement& placement, ThreadPool& pool) {
  const TraceDemand demand(split.planned(), split.planned_homes().of_request, split.loads());
  const ModelShape& shape = demand.shape();
  const Topology& topology = placement.topology();
  std::vector<double> of_layer(shape.layers.size());
  MOESAIC_TRY(pool.try_parallel_for(of_layer.size(), [&](std::size_t row) -> Status {
    MOESAIC_ASSIGN(const placement::LayerDemand layer, demand.layer(row));
    std::vector<std::uint16_t> node_of(shape.experts);
    const auto slots = placement.layer(row);
    for (std::size_t s = 0; s < slots.size(); ++s) {
      const auto gpu = GpuId(s / placement.slots_per_gpu());
      node_of[index(slots[s])] = static_cast<std::uint16_t>(index(topology.node_of(gpu)));
    }
    of_layer[row] = placement::UnseenLoads(layer.view(shape.layers[row], shape.top_k), shape.experts)
                        .imbalance(node_of, topology.nodes);
    return {};
  }));
  double sum = 0;
  for (const double imbalance : of_layer) sum += imbalance;
  return sum / static_cast<double>(of_layer.size());
}

Result<placement::Solution> place_on_scored(const Split& split, const PlaceOptions& options,
                                            ThreadPool& pool) {
  MOESAIC_ASSIGN(std::vector<double> loads, split.scored().loads(pool));
  return place_on(TraceDemand(split.scored(), split.scored_homes().of_request, std::move(loads)), split,
                  options, pool);
}

Result<placement::Solution> place_on_all(const Split& split, const PlaceOptions& options, ThreadPool& pool) {
  std::map<std::uint32_t, HomeId> home_of;
  const auto add = [&](const evaluate::SelectedTokens& tokens, const Homes& homes) {
    for (std::size_t i = 0; i < tokens.requests().size(); ++i)
      home_of.emplace(tokens.requests()[i], homes.of_request[i]);
  };
  add(split.planned(), split.planned_homes());
  add(split.scored(), split.scored_homes());
  evaluate::TokenChoice choice = split.planned().choice();
  choice.requests.clear();
  for (const auto& [request, home] : home_of) choice.requests.push_back(request);
  const evaluate::SelectedTokens all(split.planned().source(), std::move(choice));
  std::vector<HomeId> homes;
  for (const std::uint32_t request : all.requests()) homes.push_back(home_of.at(request));
  MOESAIC_ASSIGN(std::vector<double> loads, all.loads(pool));
  return place_on(TraceDemand(all, homes, std::move(loads)), split, options, pool);
}

Result<placement::Solution> place_weighted(const Split& split, std::span<const std::uint32_t> weights,
                                           const PlaceOptions& options, ThreadPool& pool) {
  MOESAIC_ASSIGN(std::vector<double> loads, split.planned().loads(pool, weights));
  return place_on(TraceDemand(split.planned(), split.planned_homes().of_request, std::move(loads), weights),
                  split, options, pool);
}

Result<std::vector<NamedScore>> score_tokens(const evaluate::SelectedTokens& tokens, const Homes& homes,
                                             std::span<const NamedPlacement> own, const Topology& topology,
                                             std::size_t slots_per_gpu, std::size_t expert_groups,
                                             const std::vector<double>& loads,
                                             const evaluate::ScoreOptions& score, ThreadPool& pool) {
  std::vector<Baseline> references;
  if (!loads.empty()) {
    MOESAIC_ASSIGN(references,
                   baselines(tokens.source().shape(), topology, slots_per_gpu, loads, expert_groups, pool));
  }
  std::vector<const Placement*> placements;
  for (const NamedPlacement& one : own) placements.push_back(one.placement);
  for (const Baseline& baseline : references) {
    for (const Placement& placement : baseline.placements) placements.push_back(&placement);
  }
  MOESAIC_ASSIGN(const std::vector<evaluate::Score> scores,
                 evaluate::score_placements(tokens, homes, placements, score, pool));
  std::vector<NamedScore> named;
  std::size_t next = 0;
  for (const NamedPlacement& one : own) named.push_back({one.name, scores[next++]});
  for (const Baseline& baseline : references) {
    const auto seeds = std::span(scores).subspan(next, baseline.placements.size());
    named.push_back({baseline.name, evaluate::mean(seeds)});
    next += seeds.size();
  }
  return named;
}

Result<std::vector<NamedScore>> score_split(const Split& split, std::span<const NamedPlacement> own,
                                            bool with_baselines, const PlaceOptions& options,
                                            const evaluate::ScoreOptions& score, ThreadPool& pool) {
  return score_tokens(split.scored(), split.scored_homes(), own, split.options().topology,
                      options.slots_per_gpu, options.expert_groups,
                      with_baselines ? split.loads() : std::vector<double>{}, score, pool);
}

Json score_json(std::span<const NamedScore> scores, bool layers) {
  Json json = evaluate::to_json(scores[0].score, layers);
  json["baselines"] = Json::Object{};
  for (const NamedScore& baseline : scores.subspan(1)) {
    json["baselines"][baseline.name] = evaluate::to_json(baseline.score, false);
  }
  return json;
}

Result<Changed> change(const Split& split, const PlaceOptions& options, const Placement& from,
                       std::optional<std::size_t> max_moves, ThreadPool& pool) {
  PlaceOptions told = options;
  told.from = &from;
  MOESAIC_ASSIGN(placement::Solution goal, place(split, told, pool));
  const TraceDemand demand(split.planned(), split.planned_homes().of_request, split.loads());
  const placement::Problem problem = problem_of(demand, split.options().topology, told, pool);
  MOESAIC_ASSIGN(placement::Replan replan, placement::replan(problem, goal.placement, max_moves.value_or(0)));
  if (max_moves) goal = {.placement = std::move(replan.placement), .notes = {}};
  goal.placement = placement::keep_slots(from, goal.placement);
  const placement::Transfers moved = placement::transfers(from, goal.placement);
  return Changed{.solution = std::move(goal),
                 .transfers = moved,
                 .moves_to_goal = replan.moves_to_goal,
                 .curve = std::move(replan.curve)};
}

Result<artifact::Plan> make_plan(const Split& split, const PlaceOptions& options,
                                 const evaluate::ScoreOptions& score, ThreadPool& pool,
                                 std::vector<NamedScore>* scores) {
  MOESAIC_ASSIGN(placement::Solution solution, place(split, options, pool));
  return plan_with(split, std::move(solution), options, score, pool, scores);
}

Result<artifact::Plan> plan_with(const Split& split, placement::Solution solution,
                                 const PlaceOptions& options, const evaluate::ScoreOptions& score,
                                 ThreadPool& pool, std::vector<NamedScore>* out) {
  const NamedPlacement own[] = {{options.algorithm, &solution.placement}};
  MOESAIC_ASSIGN(std::vector<NamedScore> scores, score_split(split, own, true, options, score, pool));
  const trace::Trace& trace = split.planned().source();
  artifact::Plan plan = plan_of(std::move(solution), trace, options);
  const SplitOptions& from = split.options();
  plan.source.requests = std::string(name(from.planned_on));
  plan.source.split_seed = from.seed;
  plan.source.phase = from.phase;
  plan.source.predict_from = from.from;
  plan.loads = split.loads();
  plan.assigner = split.assigner();
  const auto& homes = split.planned_homes().of_request;
  for (std::size_t i = 0; i < homes.size(); ++i) {
    plan.homes.emplace(trace.requests().id[split.planned().requests()[i]], homes[i]);
  }
  plan.score = score_json(scores, false);
  plan.score["in_sample"] = split.in_sample();
  // What other engines' replica choice would make of it: `export` tells without the trace at hand.
  for (const dispatch::Rule rule : dispatch::kRules) {
    evaluate::ScoreOptions other = score;
    other.objective.rule = rule;
    const NamedPlacement same[] = {{options.algorithm, &plan.placement}};
    MOESAIC_ASSIGN(const std::vector<NamedScore> under,
                   score_split(split, same, false, options, other, pool));
    plan.score["by_dispatch"][dispatch::name(rule)] = evaluate::to_json(under[0].score, false);
  }
  if (options.max_imbalance > 0) {
    // The limit binds on planning data; the held-out values stand in `score`.
    const evaluate::SelectedTokens& planned = split.planned();
    const Placement* const placements[] = {&plan.placement};
    MOESAIC_ASSIGN(const auto on_plan,
                   evaluate::score_placements(planned, split.planned_homes(), placements, score, pool));
    for (const evaluate::LayerScore& layer : on_plan[0].layers) {
      const double worst = std::max(layer.node_max_over_mean, layer.gpu_max_over_mean);
      if (worst <= options.max_imbalance) continue;
      plan.constraints_met = false;
      plan.notes.push_back(fmt::format(
          "Layer {} misses --max-imbalance {}: nodes {:.4f}, GPUs {:.4f} on planning data.",
          index(layer.layer), options.max_imbalance, layer.node_max_over_mean, layer.gpu_max_over_mean));
    }
  }
  if (options.mean_imbalance > 0) {
    MOESAIC_ASSIGN(const double mean, unseen_imbalance(split, plan.placement, pool));
    plan.notes.push_back(
        fmt::format("Nodes: {:.4f} max/mean, mean over layers, on quarters of the planning requests.", mean));
    if (mean > options.mean_imbalance) {
      plan.constraints_met = false;
      plan.notes.push_back(fmt::format("That misses --mean-imbalance {}; no assignment met is more even.",
                                       options.mean_imbalance));
    }
  }
  if (out != nullptr) *out = std::move(scores);
  return plan;
}

Result<std::vector<double>> count_loads(const trace::Trace& trace, Phase phase, const Windows& windows) {
  const ModelShape& shape = trace.shape();
  std::vector<double> loads(shape.layers.size() * shape.experts), row(loads.size());
  bool any = false;
  for (std::size_t r = 0; r < trace.count_rows().size(); ++r) {
    const trace::CountRow& about = trace.count_rows()[r];
    if (about.window < windows.first || about.window >= windows.last) continue;
    if (phase != Phase::kAll && about.phase != Phase::kAll && about.phase != phase) continue;
    MOESAIC_TRY(trace.read_counts(r, row));
    for (std::size_t i = 0; i < row.size(); ++i) loads[i] += row[i];
    any = true;
  }
  if (!any) {
    return bad_input(fmt::format("{}: no count rows of phase {} in windows {} to {}; see `moesaic info`.",
                                 trace.path(), name(phase), windows.first, windows.last));
  }
  return loads;
}

Result<artifact::Plan> make_counts_plan(const trace::Trace& trace, const Topology& topology, Phase phase,
                                        const Windows& windows, const PlaceOptions& options, ThreadPool& pool,
                                        std::vector<NamedScore>* out) {
  MOESAIC_ASSIGN(const placement::Algorithm* const algorithm, placement::find_algorithm(options.algorithm));
  if (algorithm->needs_tokens()) {
    return bad_input(
        fmt::format("{}: holds counts, and --algorithm {} plans from tokens; use a load-based one such "
                    "as eplb (`moesaic algorithms` marks them), or import a per-token trace.",
                    trace.path(), options.algorithm));
  }
  MOESAIC_ASSIGN(std::vector<double> loads, count_loads(trace, phase, windows));
  const LoadDemand demand(trace.shape(), loads);
  const placement::Problem problem = problem_of(demand, topology, options, pool);
  MOESAIC_TRY(pins_for(*algorithm, problem, options));
  if (options.mean_imbalance > 0) MOESAIC_TRY(can_share_imbalance(trace.shape(), topology, options));
  MOESAIC_ASSIGN(placement::Solution solution, algorithm->place(problem));
  artifact::Plan plan = plan_of(std::move(solution), trace, options);
  plan.source.requests = "all";
  plan.source.phase = phase;
  if (windows != Windows{}) plan.source.windows = {windows.first, windows.last};

  std::vector<double> scored = loads;
  bool in_sample = true;
  if (windows.last != Windows{}.last) {
    auto later = count_loads(trace, phase, {.first = windows.last});
    if (later) scored = *std::move(later), in_sample = false;
  }
  std::vector<NamedScore> scores = {{options.algorithm, evaluate::score_counts(scored, plan.placement)}};
  MOESAIC_ASSIGN(
      const std::vector<Baseline> references,
      baselines(trace.shape(), topology, options.slots_per_gpu, loads, options.expert_groups, pool));
  for (const Baseline& baseline : references) {
    std::vector<evaluate::Score> seeds;
    for (const Placement& placement : baseline.placements)
      seeds.push_back(evaluate::score_counts(scored, placement));
    scores.push_back({baseline.name, evaluate::mean(seeds)});
  }
  plan.score = score_json(scores, false);
  plan.score["in_sample"] = in_sample;
  plan.loads = std::move(loads);
  if (out != nullptr) *out = std::move(scores);
  return plan;
}

}  // namespace moesaic::planning
