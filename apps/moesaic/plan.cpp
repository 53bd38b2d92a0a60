#include <fmt/format.h>

#include <chrono>
#include <memory>

#include "command.hpp"
#include "core/clock.hpp"
#include "plan_options.hpp"
#include "planning/compare.hpp"
#include "planning/plan_maker.hpp"
#include "report/table.hpp"
#include "score_table.hpp"

namespace moesaic::app {
namespace {

struct Options {
  PlanOptions common;
  std::string trace, output, json, algorithm, requests = "train";
  std::string windows;
  bool force = false;
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

Result<artifact::Plan> make(Context& context, const Options& options, ThreadPool& pool,
                            std::vector<std::string>& said) {
  progress("reading " + options.trace);
  const auto opened = trace::Trace::open(context.files, options.trace);
  MOESAIC_TRY(comm::agree(context.comm, opened ? Status() : Status(tl::unexpected(opened.error()))));
  const trace::Trace& trace = *opened;
  MOESAIC_ASSIGN(Resolved resolved, resolve(options.common, trace));
  said = resolved.said;
  const bool counts = trace.kind() == trace::Kind::kCounts;
  const std::string algorithm = !options.algorithm.empty() ? options.algorithm : counts ? "eplb" : "moesaic";
  MOESAIC_ASSIGN(planning::PlaceOptions place, place_options(options.common, resolved, algorithm));
  place.comm = &context.comm;
  MOESAIC_ASSIGN(const planning::Windows windows, parse_windows(options.windows));
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
  progress("grouping requests");
  const auto split = planning::Split::make(trace, resolved.split, pool);
  MOESAIC_TRY(comm::agree(context.comm, split ? Status() : Status(tl::unexpected(split.error()))));
  progress("placing experts with " + algorithm);
  return planning::make_plan(*split, place,
                             {.objective = place.objective,
                              .step_requests = options.common.step_tokens,
                              .bytes_per_copy = resolved.bytes_per_copy,
                              .comm = &context.comm},
                             pool);
}

Status refuse_existing(Context& context, const Options& options) {
  MOESAIC_ASSIGN(const io::FileStatus there, context.files.status(options.output));
  if (!there.exists || options.force) return {};
  return bad_input(fmt::format("{}: exists; give --force to replace it.", options.output));
}

/// What the plan's limits came to.
Status said_of(const artifact::Plan& plan, const Options& options) {
  if (plan.constraints_met) return {};
  return answer_no(
      fmt::format("{}: --max-imbalance {} is missed on some layers (constraints_met: false); the "
                  "notes above list them. Allow more, or give the plan more slots.",
                  options.output, options.common.max_imbalance));
}

Status run(Context& context, const Options& options) {
  // Nothing is worth computing that cannot be kept.
  MOESAIC_TRY(comm::agree(context.comm, refuse_existing(context, options)));
  ThreadPool pool(options.common.threads);
  std::vector<std::string> said;
  MOESAIC_ASSIGN(const artifact::Plan plan, make(context, options, pool, said));
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
  print_notes(said);
  print_notes(plan.notes);
  Json json = plan.score;
  json["schema"] = "moesaic.plan-result/1";
  json["plan"] = options.output;
  json["algorithm"] = plan.algorithm.name;
  json["constraints_met"] = plan.constraints_met;
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
  command->add_option("-o,--output", options->output, "Plan to write, plan.json")->required();
  command->add_option("-a,--algorithm", options->algorithm,
                      "One of `moesaic algorithms` (default: moesaic; eplb where the trace holds counts)");
  options->common.add_topology(*command);
  options->common.add_planning(*command);
  options->common.add_scoring(*command);
  command->add_option("--requests", options->requests, "Plan on train (80 %) or all requests")
      ->capture_default_str();
  command->add_option("--windows", options->windows,
                      "Counts traces: plan on windows A:B, score on later ones");
  command->add_flag("--force", options->force, "Replace an existing plan");
  command->add_option("--json", options->json, "Write the scores as JSON; - = stdout");
  run_when_chosen(*command, context, [&context, options] { return run(context, *options); });
}

}  // namespace moesaic::app
