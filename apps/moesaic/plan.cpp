#include <fmt/format.h>
#include <fmt/ranges.h>

#include <chrono>
#include <filesystem>
#include <memory>

#include "command.hpp"
#include "core/clock.hpp"
#include "plan_options.hpp"
#include "plan_sweep.hpp"
#include "planning/compare.hpp"
#include "planning/plan_maker.hpp"
#include "report/table.hpp"
#include "score_table.hpp"

namespace moesaic::app {
namespace {

struct Options {
  PlanOptions common;
  std::string trace, output, json, algorithm, requests = "train";
  std::string windows, from;
  std::optional<std::size_t> max_moves;
  std::optional<double> max_bytes;
  bool force = false;
  SweepOptions sweep;
};

/// What changing a running plan came to, for the table and the JSON.
struct Change {
  planning::Changed changed;
  double expert_bytes = 0;  ///< 0 = not known
  std::size_t slots = 0;    ///< of all layers
  planning::NamedScore before, after;
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

/// Experts that --max-moves or --max-bytes lets move; none = no bound.
Result<std::optional<std::size_t>> budget(const Options& options, double expert_bytes) {
  if (!options.max_bytes) return options.max_moves;
  if (expert_bytes <= 0) {
    return bad_input("--max-bytes: the size of an expert is not known; give --model, or --max-moves.");
  }
  return static_cast<std::size_t>(*options.max_bytes / expert_bytes);
}

/// Changes the plan of --from: its homes stay, its experts move within the budget.
Result<artifact::Plan> change(Context& context, const Options& options, Resolved& resolved,
                              const trace::Trace& trace, const planning::PlaceOptions& place,
                              ThreadPool& pool, std::optional<Change>& change) {
  MOESAIC_ASSIGN(const artifact::Plan running, artifact::read_plan(context.files, options.from));
  if (!running.assigner) {
    return bad_input(
        fmt::format("{}: was planned from counts and has no homes for requests to keep; make a new "
                    "plan without --from.",
                    options.from));
  }
  resolved.split.assigner = &*running.assigner;
  resolved.split.attention = running.attention;
  planning::PlaceOptions told = place;
  told.objective.attention = running.attention;
  if (running.placement.topology() != resolved.split.topology ||
      running.placement.slots_per_gpu() != place.slots_per_gpu) {
    const Topology& topology = running.placement.topology();
    return bad_input(
        fmt::format("--from {}: is for --nodes {} --gpus-per-node {} --slots-per-gpu {}; a plan that "
                    "is changed keeps them.",
                    options.from, topology.nodes, topology.gpus_per_node, running.placement.slots_per_gpu()));
  }
  progress("finding homes with the running plan's assigner");
  MOESAIC_ASSIGN(const planning::Split split, planning::Split::make(trace, resolved.split, pool));
  const std::size_t slots = running.placement.all_slots().size();
  MOESAIC_ASSIGN(const std::optional<std::size_t> moves, budget(options, resolved.expert_bytes));
  progress("changing the running placement");
  MOESAIC_ASSIGN(planning::Changed changed, planning::change(split, told, running.placement, moves, pool));
  const evaluate::ScoreOptions score{.objective = told.objective,
                                     .step_requests = options.common.step_tokens,
                                     .bytes_per_copy = resolved.bytes_per_copy};
  const planning::NamedPlacement both[] = {{"(running)", &running.placement},
                                           {"(changed)", &changed.solution.placement}};
  MOESAIC_ASSIGN(const auto scores, planning::score_split(split, both, false, told, score, pool));
  MOESAIC_ASSIGN(artifact::Plan plan, planning::plan_with(split, changed.solution, told, score, pool));
  plan.algorithm.options["from"] = std::filesystem::path(options.from).filename().string();
  plan.algorithm.options["moves"] = changed.transfers.slots;
  change = Change{.changed = std::move(changed),
                  .expert_bytes = resolved.expert_bytes,
                  .slots = slots,
                  .before = scores[0],
                  .after = scores[1]};
  return plan;
}

/// Inter-node bytes a token that the change saves on what was scored; NaN where bytes are not known.
double saved_bytes(const Change& change, bool per_expert) {
  const auto bytes = [&](const planning::NamedScore& s) {
    return (per_expert ? s.score.per_expert : s.score.dedup).inter_node_bytes_per_token;
  };
  return bytes(change.before) - bytes(change.after);
}

Json change_json(const Change& change, bool per_expert) {
  const placement::Transfers& moved = change.changed.transfers;
  Json json = Json::Object{};
  json["moves"] = moved.slots;
  json["moves_inter_node"] = moved.inter_node;
  json["moves_to_goal"] = change.changed.moves_to_goal;
  json["slots"] = change.slots;
  constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();
  const double expert_bytes = change.expert_bytes > 0 ? change.expert_bytes : kUnknown;
  json["bytes"] = expert_bytes * static_cast<double>(moved.slots);
  json["bytes_inter_node"] = expert_bytes * static_cast<double>(moved.inter_node);
  json["pay_back_tokens"] =
      expert_bytes * static_cast<double>(moved.inter_node) / saved_bytes(change, per_expert);
  json["before"] = evaluate::to_json(change.before.score, false);
  json["after"] = evaluate::to_json(change.after.score, false);
  Json::Array curve;
  for (const placement::ReplanPoint& point : change.changed.curve) {
    Json one = Json::Object{};
    one["moves"] = point.moves;
    one["gain"] = point.gain;
    curve.push_back(std::move(one));
  }
  json["curve"] = std::move(curve);
  return json;
}

void print_change(const Change& change, bool per_expert) {
  const placement::Transfers& moved = change.changed.transfers;
  const auto share = [&](std::size_t moves) {
    return 100.0 * static_cast<double>(moves) / static_cast<double>(change.slots);
  };
  fmt::print("Against the running plan, same requests and homes:\n{}",
             score_table(std::vector{change.before, change.after}));
  fmt::print("{} experts move ({:.1f} % of the slots), {} of them to a node that has no copy", moved.slots,
             share(moved.slots), moved.inter_node);
  if (change.expert_bytes > 0) {
    fmt::print(": {:.2f} GiB, {:.2f} between nodes",
               static_cast<double>(moved.slots) * change.expert_bytes / 0x1p30,
               static_cast<double>(moved.inter_node) * change.expert_bytes / 0x1p30);
  }
  fmt::print(".\n");
  const double saved = saved_bytes(change, per_expert);
  if (saved > 0 && change.expert_bytes > 0) {
    fmt::print("The bytes moved between nodes are saved again after {:.0f} tokens.\n",
               static_cast<double>(moved.inter_node) * change.expert_bytes / saved);
  } else if (saved <= 0) {
    fmt::print("It sends no fewer bytes between nodes than the running plan: what it buys is balance.\n");
  }
  std::vector<std::string> points;
  for (const double at : {1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 50.0}) {
    double gain = 0;
    for (const placement::ReplanPoint& point : change.changed.curve) {
      if (share(point.moves) <= at) gain = point.gain;
    }
    points.push_back(fmt::format("{:.0f} %: {:.2f}", at, gain));
  }
  fmt::print("Gain on planning tokens by slots moved (all at {:.0f} %):\n  {}\n",
             share(change.changed.moves_to_goal), fmt::join(points, ", "));
}

Result<artifact::Plan> make(Context& context, const Options& options, ThreadPool& pool,
                            std::vector<std::string>& said, std::optional<Change>& changed) {
  progress("reading " + options.trace);
  const auto opened = trace::Trace::open(context.files, options.trace);
  MOESAIC_TRY(comm::agree(context.comm, opened));
  const trace::Trace& trace = *opened;
  MOESAIC_TRY(comm::same_everywhere(context.comm, trace.digest(), "trace"));
  MOESAIC_ASSIGN(Resolved resolved, resolve(options.common, trace, pool));
  said = resolved.said;
  const bool counts = trace.kind() == trace::Kind::kCounts;
  const std::string algorithm = !options.algorithm.empty() ? options.algorithm : counts ? "eplb" : "moesaic";
  MOESAIC_ASSIGN(planning::PlaceOptions place, place_options(options.common, resolved, algorithm));
  place.comm = &context.comm;
  MOESAIC_ASSIGN(const planning::Windows windows, parse_windows(options.windows));
  if (options.from.empty() && (options.max_moves || options.max_bytes)) {
    return bad_input(
        "--max-moves, --max-bytes: bound what a change of a running plan moves; give it by --from.");
  }
  if (options.max_moves && options.max_bytes) {
    return bad_input("--max-moves and --max-bytes: give one of them.");
  }
  if (counts && !options.from.empty()) {
    return bad_input("--from: changes a plan by what tokens do, and the trace holds counts.");
  }
  if (counts) {
    said.push_back("The trace holds counts: balance is planned and scored, copies are not known.");
    return planning::make_counts_plan(trace, resolved.split.topology, resolved.split.phase, windows, place,
                                      pool);
  }
  if (!options.windows.empty()) {
    return bad_input("--windows: the trace holds tokens, not windows of counts; use --requests.");
  }
  MOESAIC_ASSIGN(resolved.split.planned_on, parse_request_set(options.requests));
  if (resolved.split.planned_on == RequestSet::kHeldout) {
    return bad_input(
        "--requests heldout: a plan is made on train or all; held-out requests are for scoring.");
  }
  if (!options.from.empty()) {
    return change(context, options, resolved, trace, place, pool, changed);
  }
  progress("grouping requests");
  const auto split = planning::Split::make(trace, resolved.split, pool);
  MOESAIC_TRY(comm::agree(context.comm, split));
  progress("placing experts with " + algorithm);
  return planning::make_plan(*split, place,
                             {.objective = place.objective,
                              .step_requests = options.common.step_tokens,
                              .bytes_per_copy = resolved.bytes_per_copy,
                              .comm = &context.comm},
                             pool);
}

/// What the plan's limits came to.
Status said_of(const artifact::Plan& plan, const Options& options) {
  if (plan.constraints_met) return {};
  return answer_no(
      fmt::format("{}: --max-imbalance {} is missed on some layers (constraints_met: false); the "
                  "notes above list them. Allow more, or give the plan more slots.",
                  options.output, options.common.max_imbalance));
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
  if (!options.output.empty() || !options.from.empty() || !options.windows.empty() ||
      options.requests != "train") {
    return bad_input(
        "--sweep: plans on the train requests and writes no plan; leave out -o, --from, --windows and "
        "--requests.");
  }
  return {};
}

Status run(Context& context, const Options& options) {
  MOESAIC_TRY(check_sweep(options));
  if (options.sweep.on) {
    return run_sweep(context, options.sweep, options.common,
                     options.algorithm.empty() ? "moesaic" : options.algorithm, options.trace, options.json);
  }
  // Nothing is worth computing that cannot be kept.
  MOESAIC_TRY(comm::agree(context.comm, refuse_existing(context, options.output, options.force)));
  ThreadPool pool(options.common.threads);
  std::vector<std::string> said;
  std::optional<Change> changed;
  MOESAIC_ASSIGN(const artifact::Plan plan, make(context, options, pool, said, changed));
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
  const bool per_expert = options.common.optimize == "per-expert";
  if (changed) {
    print_change(*changed, per_expert);
    said.push_back("SGLang and TensorRT-LLM read their expert map at start: a changed one needs a restart.");
  }
  print_notes(said);
  print_notes(plan.notes);
  Json json = plan.score;
  json["schema"] = "moesaic.plan-result/1";
  json["plan"] = options.output;
  json["algorithm"] = plan.algorithm.name;
  json["constraints_met"] = plan.constraints_met;
  if (changed) json["change"] = change_json(*changed, per_expert);
  json["slots_per_gpu"] = plan.placement.slots_per_gpu();
  MOESAIC_TRY(write_json(context, options.json, json));
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
  command->add_option("--from", options->from,
                      "Change this running plan: its homes stay, experts move within the budget");
  command->add_option("--max-moves", options->max_moves,
                      "With --from: most experts to move, over all layers");
  command->add_option("--max-bytes", options->max_bytes, "With --from: most bytes of expert weights to move");
  options->sweep.add(*command);
  command->add_flag("--force", options->force, "Replace an existing plan");
  command->add_option("--json", options->json, "Write the scores as JSON; - = stdout");
  run_when_chosen(*command, context, [&context, options] { return run(context, *options); });
}

}  // namespace moesaic::app
