#include <fmt/format.h>

#include <chrono>
#include <filesystem>
#include <memory>

#include "command.hpp"
#include "core/clock.hpp"
#include "plan_change.hpp"
#include "plan_options.hpp"
#include "plan_page.hpp"
#include "plan_robust.hpp"
#include "plan_sweep.hpp"
#include "planning/fastest.hpp"
#include "planning/plan_maker.hpp"
#include "report/table.hpp"
#include "score_table.hpp"

namespace moesaic::app {
namespace {

struct Options {
  PlanOptions common;
  std::string trace, output, json, html, algorithm, requests = "train";
  std::string windows;
  ChangeOptions change;
  bool force = false;
  SweepOptions sweep;
  RobustChoice robust;
};

/// A plan, and what is said beside it.
struct Made {
  artifact::Plan plan;
  std::vector<std::string> said;  ///< what was assumed, full sentences
  std::optional<Change> change = {};
  std::optional<RobustReport> robust = {};
  std::vector<planning::NamedScore> scores = {};  ///< the plan's first, then baselines
  double expert_bytes = 0;                        ///< 0 = not known
};

Result<planning::Windows> parse_windows(const std::string& text) {
  planning::Windows windows;
  if (text.empty()) return windows;
  unsigned first = 0, last = 0;
  char more = 0;
  if (std::sscanf(text.c_str(), "%u:%u%c", &first, &last, &more) != 2 || first >= last) {
    return bad_input(fmt::format("--windows {}: expected A:B with A < B, windows A to B-1.", text));
  }
  return planning::Windows{first, last};
}

/// The plan's scores back as table rows: the plan first, then its baselines.
std::string table_of(const artifact::Plan& plan) {
  const auto mode = [](const Json* json) {
    evaluate::ModeScore score;
    if (json == nullptr) return score;
    constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();
    const auto get = [&](std::string_view key, double& out) {
      const Json* value = json->find(key);
      if (value == nullptr || !value->to_double(out)) out = kUnknown;
    };
    get("node_copies_per_token_layer", score.node_copies_per_token_layer);
    get("gpu_copies_per_token_layer", score.gpu_copies_per_token_layer);
    get("inter_node_bytes_per_token", score.inter_node_bytes_per_token);
    return score;
  };
  const auto row = [&](const std::string& name, const Json& json) {
    planning::NamedScore named{name, {}};
    const auto get = [&](std::string_view key, double& out) {
      const Json* value = json.find(key);
      if (value == nullptr || !value->to_double(out)) out = std::numeric_limits<double>::quiet_NaN();
    };
    named.score.dedup = mode(json.find("dedup"));
    named.score.per_expert = mode(json.find("per_expert"));
    get("node_max_over_mean", named.score.node_max_over_mean);
    get("gpu_max_over_mean", named.score.gpu_max_over_mean);
    get("gpu_max_over_mean_step", named.score.gpu_max_over_mean_step);
    get("home_max_over_mean", named.score.home_max_over_mean);
    get("jain_gpu", named.score.jain_gpu);
    return named;
  };
  std::vector<planning::NamedScore> rows = {row(plan.algorithm.name, plan.score)};
  if (const Json* baselines = plan.score.find("baselines"); baselines != nullptr && baselines->is_object()) {
    for (const auto& [name, json] : *baselines->as_object()) rows.push_back(row(name, json));
  }
  return score_table(rows);
}

/// The plan of the least modelled time of a layer.
Result<planning::Fastest> make_fastest(Context& context, const Options& options, const trace::Trace& trace,
                                       const planning::Split& split, const planning::PlaceOptions& place,
                                       ThreadPool& pool) {
  MOESAIC_ASSIGN(const std::optional<cost::ModelPreset> preset,
                 preset_of(context.files, options.common.model, trace));
  if (!preset) {
    return bad_input(
        fmt::format("--optimize time: model \"{}\" of {} has no preset, so bytes are not known; name one "
                    "that fits with --model.",
                    trace.shape().model, trace.path()));
  }
  MOESAIC_ASSIGN(const cost::HardwarePreset* const hardware,
                 cost::find_hardware(options.sweep.time.hardware));
  return planning::place_fastest(split, place,
                                 {.costs = cost::layer_costs(*preset, *hardware, split.options().topology,
                                                             cost::StepAssumptions{}.memory_efficiency),
                                  .tokens_per_gpu = options.sweep.time.batch,
                                  .per_expert = options.common.counts_rows()},
                                 pool);
}

std::string fastest_note(const planning::Fastest& fastest, const Options& options) {
  const auto layers = static_cast<double>(fastest.solution.placement.layers().size() * fastest.steps);
  const auto microseconds = [&](Nanoseconds time) {
    return static_cast<double>(time.count()) / layers / 1e3;
  };
  std::string taken;
  for (const planning::Candidate& one : fastest.candidates) {
    if (one.layers == 0) continue;
    taken += fmt::format("{}{} ({} layers, {:.1f} us for all)", taken.empty() ? "" : "; ", one.name,
                         one.layers, microseconds(one.time));
  }
  return fmt::format(
      "Modelled on planning tokens, {} and {} tokens a GPU, a layer takes {:.1f} us; each layer has the "
      "fastest of {} candidates: {}.",
      options.sweep.time.hardware, options.sweep.time.batch, microseconds(fastest.time),
      fastest.candidates.size(), taken);
}

Result<Made> make_from_tokens(Context& context, const Options& options, Resolved& resolved,
                              const trace::Trace& trace, const planning::PlaceOptions& place,
                              ThreadPool& pool) {
  if (!options.windows.empty()) {
    return bad_input("--windows: the trace holds tokens, not windows of counts; use --requests or --robust.");
  }
  MOESAIC_ASSIGN(resolved.split.planned_on, parse_request_set(options.requests));
  if (resolved.split.planned_on == RequestSet::kHeldout) {
    return bad_input(
        "--requests heldout: a plan is made on train or all; held-out requests are for scoring.");
  }
  const evaluate::ScoreOptions score{.objective = place.objective,
                                     .step_requests = options.common.step_tokens,
                                     .bytes_per_copy = resolved.bytes_per_copy,
                                     .comm = &context.comm};
  if (!options.change.from.empty()) {
    MOESAIC_ASSIGN(ChangedPlan changed,
                   change_plan(context, options.change, resolved, trace, place, score, pool));
    return Made{.plan = std::move(changed.plan),
                .said = {},
                .change = std::move(changed.change),
                .scores = std::move(changed.scores)};
  }
  progress("grouping requests");
  const auto split = planning::Split::make(trace, resolved.split, pool);
  MOESAIC_TRY(comm::agree(context.comm, split));
  progress("placing experts with " + place.algorithm);
  std::vector<planning::NamedScore> scores;
  if (options.common.optimizes_time()) {
    MOESAIC_ASSIGN(const planning::Fastest fastest,
                   make_fastest(context, options, trace, *split, place, pool));
    MOESAIC_ASSIGN(artifact::Plan plan,
                   planning::plan_with(*split, fastest.solution, place, score, pool, &scores));
    plan.algorithm.options["optimize"] = options.common.optimize;
    plan.algorithm.options["hardware"] = options.sweep.time.hardware;
    plan.algorithm.options["batch"] = options.sweep.time.batch;
    plan.notes.push_back(fastest_note(fastest, options));
    return Made{.plan = std::move(plan), .said = {}, .scores = std::move(scores)};
  }
  if (!options.robust.on()) {
    MOESAIC_ASSIGN(artifact::Plan plan, planning::make_plan(*split, place, score, pool, &scores));
    return Made{.plan = std::move(plan), .said = {}, .scores = std::move(scores)};
  }
  MOESAIC_ASSIGN(RobustReport robust, make_robust(options.robust, *split, place, score, pool));
  MOESAIC_ASSIGN(artifact::Plan plan,
                 planning::plan_with(*split, robust.plan.solution, place, score, pool, &scores));
  plan.algorithm.options["robust"] = robust_options(robust);
  for (std::string& note : robust_notes(robust, place.per_expert, place.max_imbalance))
    plan.notes.push_back(std::move(note));
  if (!parts_above(robust, place.max_imbalance).empty()) plan.constraints_met = false;
  return Made{.plan = std::move(plan), .said = {}, .robust = std::move(robust), .scores = std::move(scores)};
}

Result<Made> make(Context& context, const Options& options, ThreadPool& pool) {
  progress("reading " + options.trace);
  const auto opened = trace::Trace::open(context.files, options.trace);
  MOESAIC_TRY(comm::agree(context.comm, opened));
  const trace::Trace& trace = *opened;
  MOESAIC_TRY(comm::same_everywhere(context.comm, trace.digest(), "trace"));
  MOESAIC_ASSIGN(Resolved resolved, resolve(context.files, options.common, trace, pool));
  const bool counts = trace.kind() == trace::Kind::kCounts;
  const std::string algorithm = !options.algorithm.empty() ? options.algorithm : counts ? "eplb" : "moesaic";
  MOESAIC_ASSIGN(planning::PlaceOptions place, place_options(options.common, resolved, algorithm));
  place.comm = &context.comm;
  MOESAIC_ASSIGN(const planning::Windows windows, parse_windows(options.windows));
  std::vector<std::string> said = resolved.said;
  const auto make_from_counts = [&]() -> Result<Made> {
    if (!options.change.from.empty() || options.robust.on() || options.common.optimizes_time()) {
      return bad_input(
          "--from, --robust, --optimize time: plan by what tokens do, and the trace holds counts.");
    }
    said.push_back("The trace holds counts: balance is planned and scored, copies are not known.");
    std::vector<planning::NamedScore> scores;
    MOESAIC_ASSIGN(artifact::Plan plan,
                   planning::make_counts_plan(trace, resolved.split.topology, resolved.split.phase, windows,
                                              place, pool, &scores));
    return Made{.plan = std::move(plan), .said = {}, .scores = std::move(scores)};
  };
  MOESAIC_ASSIGN(Made made, counts ? make_from_counts()
                                   : make_from_tokens(context, options, resolved, trace, place, pool));
  made.said = std::move(said);
  made.plan.cluster = resolved.cluster;
  made.expert_bytes = resolved.expert_bytes;
  return made;
}

/// What the plan's limits came to.
Status said_of(const artifact::Plan& plan, const Options& options) {
  if (plan.constraints_met) return {};
  return answer_no(
      fmt::format("{}: --max-imbalance or a pin is missed on some layers or parts (constraints_met: false); "
                  "the notes above list them. Allow more, or give the plan more slots.",
                  options.output));
}

/// The page of --html. A page is a report, not a product: an existing one is replaced.
Status write_page(Context& context, const Options& options, const Made& made) {
  if (options.html.empty()) return {};
  const report::Page page = plan_page({.plan = made.plan,
                                       .path = options.output,
                                       .trace = options.trace,
                                       .scores = made.scores,
                                       .change = made.change ? &*made.change : nullptr,
                                       .robust = made.robust ? &*made.robust : nullptr,
                                       .expert_bytes = made.expert_bytes,
                                       .per_expert = options.common.counts_rows(),
                                       .said = made.said});
  MOESAIC_TRY(report::write(page, context.files, options.html, true));
  if (options.json != "-") fmt::print("The page is {}.\n", options.html);
  return {};
}

/// What does not go together with --sweep or without it.
Status check_sweep(const Options& options) {
  if (!options.sweep.on) {
    if (options.output.empty()) return bad_input("--output is required: the plan.json to write (-o).");
    if (options.sweep.time.on) {
      return bad_input("--time: goes with --sweep; `moesaic evaluate plan.json T --time` times one plan.");
    }
    return {};
  }
  if (!options.output.empty() || !options.change.from.empty() || !options.windows.empty() ||
      options.requests != "train" || options.robust.on()) {
    return bad_input(
        "--sweep: plans on the train requests and writes no plan; leave out -o, --from, --robust, --windows "
        "and "
        "--requests.");
  }
  return {};
}

Status run(Context& context, const Options& options) {
  if (!options.html.empty()) MOESAIC_TRY(report::can_render());
  MOESAIC_TRY(check_sweep(options));
  MOESAIC_TRY(options.change.check());
  if ((options.robust.on() || options.common.optimizes_time()) && !options.change.from.empty()) {
    return bad_input(
        "--robust, --optimize time: make a new plan; a running one (--from) is changed by its copies.");
  }
  if (options.robust.on() && options.common.optimizes_time()) {
    return bad_input("--robust: weighs copies of parts of the traffic; --optimize time cannot be with it.");
  }
  if (options.common.mean_imbalance > 0 &&
      (options.robust.on() || options.common.optimizes_time() || !options.change.from.empty())) {
    return bad_input(
        "--mean-imbalance: --robust, --optimize time and --from keep a limit in each layer; give "
        "--max-imbalance.");
  }
  if (options.sweep.on) {
    return run_sweep(context, options.sweep, options.common,
                     options.algorithm.empty() ? "moesaic" : options.algorithm, options.trace,
                     {.json = options.json, .html = options.html});
  }
  // Nothing is worth computing that cannot be kept.
  MOESAIC_TRY(comm::agree(context.comm, refuse_existing(context, options.output, options.force)));
  ThreadPool pool(options.common.threads);
  MOESAIC_ASSIGN(Made made, make(context, options, pool));
  const artifact::Plan& plan = made.plan;
  // The root writes; every rank has the same plan.
  MOESAIC_TRY(
      comm::agree(context.comm, context.comm.is_root()
                                    ? artifact::write_plan(context.files, options.output, plan, options.force)
                                    : Status()));
  progress_done();
  if (!context.comm.is_root()) return said_of(plan, options);
  const Json* in_sample = plan.score.find("in_sample");
  const bool sampled = in_sample != nullptr && in_sample->as_bool() != nullptr && *in_sample->as_bool();
  fmt::print("{}: {} layers x {} experts on {} nodes x {} GPUs, {} slots a GPU ({})\n", options.output,
             plan.shape.layers.size(), plan.shape.experts, plan.placement.topology().nodes,
             plan.placement.topology().gpus_per_node, plan.placement.slots_per_gpu(),
             artifact::name(plan.label));
  fmt::print("Scored on {}:\n{}{}", sampled ? "what it was planned on (in sample)" : "what it has not seen",
             table_of(plan), score_legend(plan.placement.topology().nodes));
  const bool per_expert = options.common.counts_rows();
  if (made.robust) {
    fmt::print("By part, {} node copies a token-layer, without and with --robust:\n{}",
               per_expert ? "per-expert" : "dedup", robust_table(*made.robust, per_expert).text());
  }
  if (made.change) {
    print_change(*made.change, per_expert);
    made.said.push_back(
        "SGLang and TensorRT-LLM read their expert map at start: a changed one needs a restart.");
  }
  print_notes(made.said);
  print_notes(plan.notes);
  Json json = plan.score;
  json["schema"] = "moesaic.plan-result/1";
  json["plan"] = options.output;
  json["algorithm"] = plan.algorithm.name;
  json["constraints_met"] = plan.constraints_met;
  if (made.change) json["change"] = change_json(*made.change, per_expert);
  if (made.robust) json["robust"] = robust_json(*made.robust);
  json["slots_per_gpu"] = plan.placement.slots_per_gpu();
  MOESAIC_TRY(write_json(context, options.json, json));
  MOESAIC_TRY(write_page(context, options, made));
  return said_of(plan, options);
}

}  // namespace

void add_plan(CLI::App& app, Context& context) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("plan", "Place experts and group requests; score it on held-out requests");
  command->add_option("trace", options->trace, "Trace store (see `moesaic import`)")->required();
  command->add_option("-o,--output", options->output, "Plan to write, plan.json");
  command->add_option("-a,--algorithm", options->algorithm,
                      "One of `moesaic algorithms` (default: moesaic; eplb where the trace holds counts)");
  options->common.add_topology(*command);
  options->common.add_planning(*command);
  options->common.add_scoring(*command);
  command->add_option("--requests", options->requests, "Plan on train (80 %) or all requests")
      ->capture_default_str();
  command->add_option("--windows", options->windows,
                      "Counts traces: plan on windows A:B, score on later ones");
  options->change.add(*command);
  options->robust.add(*command);
  options->sweep.add(*command);
  command->add_flag("--force", options->force, "Replace an existing plan");
  command->add_option("--json", options->json, "Write the scores as JSON; - = stdout");
  command->add_option("--html", options->html, "Write a page of charts: one file, opened from disk");
  run_when_chosen(*command, context, [&context, options] { return run(context, *options); });
}

}  // namespace moesaic::app
