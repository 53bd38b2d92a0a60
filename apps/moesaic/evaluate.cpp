#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <unordered_set>

#include "artifact/plan.hpp"
#include "command.hpp"
#include "core/limits.hpp"
#include "evaluate/unseen_homes.hpp"
#include "plan_options.hpp"
#include "planning/baselines.hpp"
#include "planning/plan_maker.hpp"
#include "score_table.hpp"
#include "time_table.hpp"

namespace moesaic::app {
namespace {

struct Options {
  std::string plan, trace, json, model;
  std::optional<std::string> requests, dispatch, phase, predict_from;
  std::string assign = "after-prefill";
  double home_slack = 0.1;
  std::size_t step_tokens = 8, threads = 0;
  bool layers = false;
  TimeOptions time;
};

/// Rows of the requests an @file lists, one id a line.
Result<std::vector<std::uint32_t>> listed_requests(Context& context, const trace::Trace& trace,
                                                   const std::string& path) {
  MOESAIC_ASSIGN(const std::string text, io::read_file(context.files, path, limits::kMaxConfigBytes));
  std::unordered_set<std::string> wanted;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    if (end > begin) wanted.insert(text.substr(begin, end - begin));
    begin = end + 1;
  }
  std::vector<std::uint32_t> rows;
  for (std::size_t r = 0; r < trace.requests().size(); ++r) {
    if (wanted.erase(trace.requests().id[r]) > 0) rows.push_back(static_cast<std::uint32_t>(r));
  }
  if (!wanted.empty()) {
    return bad_input(fmt::format(
        "{}: request \"{}\" and {} more are not in {}; the ids of a store are in its request/id column.",
        path, *wanted.begin(), wanted.size() - 1, trace.path()));
  }
  return rows;
}

struct Evaluated {
  std::vector<planning::NamedScore> scores;  ///< the plan's, the oracle's, baselines
  bool in_sample = false;
  std::string on;  ///< which requests, for people
  std::vector<std::string> said;
  std::optional<TimeReport> time;  ///< with --time
};

/// The plan beside linear and eplb in the same slots: modelled step times.
Result<TimeReport> modelled_time(const Options& options, const artifact::Plan& plan,
                                 const cost::ModelPreset* preset, const evaluate::SelectedTokens& tokens,
                                 const Homes& homes, const traffic::Objective& objective, ThreadPool& pool) {
  MOESAIC_ASSIGN(const auto references,
                 planning::baselines(plan.shape, plan.placement.topology(), plan.placement.slots_per_gpu(),
                                     plan.loads, plan.algorithm.expert_groups, pool));
  std::vector<planning::NamedPlacement> placements = {{plan.algorithm.name, &plan.placement}};
  for (const planning::Baseline& baseline : references) {
    if (baseline.name != "linear" && baseline.name != "eplb") continue;
    placements.push_back({baseline.name, &baseline.placements[0]});
  }
  return time_report(options.time, preset, tokens, homes, placements, objective, pool);
}

Result<Evaluated> evaluate_tokens(Context& context, const Options& options, const artifact::Plan& plan,
                                  const trace::Trace& trace, ThreadPool& pool) {
  if (!plan.assigner) {
    return bad_input(
        fmt::format("{}: was planned from counts and has no homes for requests; it can be scored on "
                    "counts, or plan again from a per-token trace.",
                    options.plan));
  }
  Evaluated result;
  const bool own_trace = plan.source.trace_digest == trace.digest();
  const std::string set =
      options.requests.value_or(own_trace && plan.source.requests == "train" ? "heldout" : "all");
  std::vector<std::uint32_t> rows;
  if (set.starts_with('@')) {
    MOESAIC_ASSIGN(rows, listed_requests(context, trace, set.substr(1)));
  } else {
    MOESAIC_ASSIGN(const RequestSet parsed, parse_request_set(set));
    rows = select_requests(trace.requests().id, trace.requests().domain, parsed, plan.source.split_seed);
    if (own_trace) {  // as the plan was scored
      MOESAIC_ASSIGN(const std::vector<std::uint32_t> again, recorded_again(trace, pool));
      std::erase_if(rows, [&](std::uint32_t r) { return std::ranges::binary_search(again, r); });
    }
  }
  result.in_sample = own_trace && set != "heldout";
  result.on = set + (own_trace ? " requests of the plan's own trace" : " requests of another trace");
  if (result.in_sample)
    result.said.push_back("Some of these requests were planned on: the score is in sample.");

  evaluate::TokenChoice choice{
      .requests = std::move(rows), .phase = plan.source.phase, .from = plan.source.predict_from};
  if (options.phase) {
    MOESAIC_ASSIGN(choice.phase, parse_phase(*options.phase));
  }
  if (options.predict_from) {
    MOESAIC_ASSIGN(choice.from, parse_predict_from(*options.predict_from));
  }
  const evaluate::SelectedTokens tokens(trace, std::move(choice));
  if (tokens.scored_tokens() == 0) {
    return bad_input(
        fmt::format("{}: the {} have no {} tokens to score beside those predicted from; give --phase or "
                    "--predict-from.",
                    options.trace, result.on, name(tokens.choice().phase)));
  }
  if (tokens.predict_tokens() == 0) {
    result.said.push_back("No tokens to predict homes from: they follow balance alone.");
  }
  signature::Assigner assigner = *plan.assigner;
  MOESAIC_TRY(signature::bind(assigner.space, trace.shape()));

  const Topology& topology = plan.placement.topology();
  MOESAIC_ASSIGN(const grouping::AssignMode mode, grouping::parse_assign_mode(options.assign));
  MOESAIC_ASSIGN(const Homes homes,
                 evaluate::unseen_homes(tokens, assigner, topology, plan.attention,
                                        {.mode = mode, .slack = options.home_slack}, pool));
  evaluate::ScoreOptions score{
      .objective = {.rule = plan.dispatch, .attention = plan.attention, .seed = plan.algorithm.seed},
      .step_requests = options.step_tokens};
  if (options.dispatch) {
    MOESAIC_ASSIGN(score.objective.rule, dispatch::parse_rule(*options.dispatch));
  }
  MOESAIC_ASSIGN(const std::optional<cost::ModelPreset> preset,
                 preset_of(context.files, options.model, trace));
  if (preset) score.bytes_per_copy = static_cast<double>(cost::copy_bytes(*preset));
  const planning::NamedPlacement own[] = {{plan.algorithm.name, &plan.placement}};
  MOESAIC_ASSIGN(result.scores,
                 planning::score_tokens(tokens, homes, own, topology, plan.placement.slots_per_gpu(),
                                        plan.algorithm.expert_groups, plan.loads, score, pool));
  MOESAIC_ASSIGN(const Homes offline, evaluate::offline_homes(tokens, assigner, topology, plan.attention,
                                                              options.home_slack, pool));
  if (options.time.on) {
    MOESAIC_ASSIGN(result.time, modelled_time(options, plan, preset ? &*preset : nullptr, tokens, homes,
                                              score.objective, pool));
    result.said.insert(result.said.end(), result.time->said.begin(), result.time->said.end());
    const std::size_t batch = options.time.batch * topology.gpus() / topology.homes(plan.attention);
    if (result.time->timed.requests_per_home < batch) {
      result.said.push_back(fmt::format(
          "A home has {} of these requests on average and runs {} tokens a step: several tokens of a request "
          "run in one, which understates the experts read; a smaller --batch or more requests avoid it.",
          result.time->timed.requests_per_home, batch));
    }
  }
  const Placement* const same[] = {&plan.placement};
  MOESAIC_ASSIGN(const auto oracle, evaluate::score_placements(tokens, offline, same, score, pool));
  result.scores.insert(result.scores.begin() + 1, {"(offline homes)", oracle[0]});
  return result;
}

Result<Evaluated> evaluate_counts(const Options& options, const artifact::Plan& plan,
                                  const trace::Trace& trace, ThreadPool& pool) {
  if (options.time.on) {
    return bad_input(fmt::format(
        "--time: {} holds counts, and a step's copies and experts need tokens; give a per-token trace.",
        options.trace));
  }
  Evaluated result;
  Phase phase = plan.source.phase;
  if (options.phase) {
    MOESAIC_ASSIGN(phase, parse_phase(*options.phase));
  }
  const bool own_trace = plan.source.trace_digest == trace.digest();
  planning::Windows windows;
  if (own_trace && plan.source.windows) windows.first = plan.source.windows->second;
  std::vector<double> counts;
  auto later = planning::count_loads(trace, phase, windows);
  if (later) {
    counts = *std::move(later);
  } else {
    MOESAIC_ASSIGN(counts, planning::count_loads(trace, phase, {}));
    windows = {};
  }
  result.in_sample = own_trace && windows == planning::Windows{};
  result.on = windows.first > 0 ? fmt::format("windows from {}", windows.first) : "all windows";
  result.said.push_back(
      "The trace holds counts: copies are not known, replicas share an expert's load evenly.");
  if (result.in_sample) result.said.push_back("The plan was made on these counts: the score is in sample.");
  result.scores.push_back({plan.algorithm.name, evaluate::score_counts(counts, plan.placement)});
  MOESAIC_ASSIGN(const auto references,
                 planning::baselines(plan.shape, plan.placement.topology(), plan.placement.slots_per_gpu(),
                                     plan.loads, plan.algorithm.expert_groups, pool));
  for (const planning::Baseline& baseline : references) {
    std::vector<evaluate::Score> seeds;
    for (const Placement& placement : baseline.placements)
      seeds.push_back(evaluate::score_counts(counts, placement));
    result.scores.push_back({baseline.name, evaluate::mean(seeds)});
  }
  return result;
}

Status run(Context& context, const Options& options) {
  ThreadPool pool(options.threads);
  MOESAIC_ASSIGN(const artifact::Plan plan, artifact::read_plan(context.files, options.plan));
  MOESAIC_ASSIGN(const trace::Trace trace, trace::Trace::open(context.files, options.trace));
  if (plan.shape.layers != trace.shape().layers || plan.shape.experts != trace.shape().experts) {
    return bad_input(
        fmt::format("{}: is for {} MoE layers x {} experts, {} has {} x {}; score a plan on traces of its "
                    "own model.",
                    options.plan, plan.shape.layers.size(), plan.shape.experts, options.trace,
                    trace.shape().layers.size(), trace.shape().experts));
  }
  progress("scoring " + options.plan);
  MOESAIC_ASSIGN(const Evaluated result, trace.kind() == trace::Kind::kTokens
                                             ? evaluate_tokens(context, options, plan, trace, pool)
                                             : evaluate_counts(options, plan, trace, pool));
  progress_done();
  fmt::print("{} on {}, {}\n{}{}", options.plan, options.trace, result.on, score_table(result.scores),
             score_legend(plan.placement.topology().nodes));
  if (result.time) fmt::print("\n{}", time_table(*result.time));
  print_notes(result.said);
  Json json = evaluate::to_json(result.scores[0].score, options.layers);
  for (const planning::NamedScore& named : std::span(result.scores).subspan(1)) {
    Json& slot = named.name.starts_with('(') ? json["oracle_homes"] : json["baselines"][named.name];
    slot = evaluate::to_json(named.score, false);
  }
  if (result.time) json["time"] = time_json(*result.time);
  json["schema"] = "moesaic.evaluate/1";
  json["plan"] = options.plan;
  json["trace"] = options.trace;
  json["requests"] = result.on;
  json["in_sample"] = result.in_sample;
  json["allgather_node_copies_per_token_layer"] = plan.placement.topology().nodes - 1;
  return write_json(context, options.json, json);
}

}  // namespace

void add_evaluate(CLI::App& app, Context& context) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("evaluate", "Score a plan on a trace, beside the baselines");
  command->add_option("plan", options->plan, "plan.json")->required();
  command->add_option("trace", options->trace, "Trace store of the same model")->required();
  command->add_option(
      "--requests", options->requests,
      "all, train, heldout or @file of ids (default: heldout on the plan's own trace, else all)");
  command->add_option("--dispatch", options->dispatch, "Replica choice (default: the plan's)");
  command->add_option("--phase", options->phase, "decode, prefill or all (default: the plan's)");
  command->add_option("--predict-from", options->predict_from, "As for plan (default: the plan's)");
  command->add_option("--assign", options->assign, "Homes: after-prefill, predicted or random")
      ->capture_default_str();
  command->add_option("--home-slack", options->home_slack, "A home holds at most (1 + this) x the mean")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  command->add_option("--step-tokens", options->step_tokens, "Requests that run at once in a home")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  command->add_option("--model", options->model, kModelHelp);
  options->time.add(*command);
  command->add_flag("--layers", options->layers, "Every layer's figures in the JSON");
  command->add_option("--threads", options->threads, "Threads; 0 = one a core")->capture_default_str();
  command->add_option("--json", options->json, "Write the scores as JSON; - = stdout");
  run_when_chosen(*command, context, [&context, options] { return run(context, *options); });
}

}  // namespace moesaic::app
