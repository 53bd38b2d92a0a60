#include "replay_command.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "artifact/plan.hpp"
#include "core/clock.hpp"
#include "core/random.hpp"
#include "plan_options.hpp"
#include "replay_page.hpp"
#include "replay_work.hpp"
#include "report/table.hpp"
#include "score_table.hpp"

namespace moesaic::app {
namespace {

struct Options {
  std::string plan, trace, json, html, model, mode = "dedup", wire = "bf16", compute = "on";
  std::optional<std::string> dispatch;
  std::optional<std::size_t> hidden, intermediate;
  std::size_t scale = 16, batch_tokens = 64, check_tokens = 8;
  ReplayChoice choice;
};

/// A size of the model by `scale`, a multiple of 8.
std::size_t scaled(std::size_t size, std::size_t scale) {
  return std::max<std::size_t>(8, size / scale / 8 * 8);
}

Result<replay::Options> replay_options(io::FileSystem& files, const Options& options,
                                       const artifact::Plan& plan, const trace::Trace& trace) {
  replay::Options out{.rule = plan.dispatch,
                      .dispatch_seed = plan.algorithm.seed,
                      .compute = options.compute == "on",
                      .batch_tokens = options.batch_tokens,
                      .check_tokens = options.check_tokens};
  MOESAIC_ASSIGN(out.mode, replay::parse_mode(options.mode));
  MOESAIC_ASSIGN(out.wire, replay::parse_wire(options.wire));
  if (options.dispatch) {
    MOESAIC_ASSIGN(out.rule, dispatch::parse_rule(*options.dispatch));
  }
  if (options.compute != "on" && options.compute != "off") {
    return bad_input(fmt::format("--compute {}: expected on or off.", options.compute));
  }
  MOESAIC_ASSIGN(const std::optional<cost::ModelPreset> preset, preset_of(files, options.model, trace));
  if (!preset && (!options.hidden || !options.intermediate)) {
    return bad_input(
        fmt::format("{}: its model has no preset, so sizes are not known; give --model, or --hidden and "
                    "--intermediate.",
                    options.trace));
  }
  out.hidden = options.hidden ? *options.hidden : scaled(preset->hidden_size, options.scale);
  out.intermediate =
      options.intermediate ? *options.intermediate : scaled(preset->expert_intermediate_size, options.scale);
  return out;
}

struct Inputs {
  artifact::Plan plan;
  trace::Trace trace;
};

/// Every rank reads plan and trace: there is no shared memory to hand them over in.
Result<Inputs> open_inputs(Context& context, const Options& options) {
  MOESAIC_ASSIGN(artifact::Plan plan, artifact::read_plan(context.files, options.plan));
  MOESAIC_ASSIGN(trace::Trace trace, trace::Trace::open(context.files, options.trace));
  if (trace.kind() != trace::Kind::kTokens) {
    return bad_input(
        fmt::format("{}: holds counts, and a replay needs every token's experts; import a "
                    "per-token trace.",
                    options.trace));
  }
  if (plan.shape.layers != trace.shape().layers || plan.shape.experts != trace.shape().experts) {
    return bad_input(
        fmt::format("{}: is for {} MoE layers x {} experts, {} has {} x {}; replay a plan on traces of its "
                    "own model.",
                    options.plan, plan.shape.layers.size(), plan.shape.experts, options.trace,
                    trace.shape().layers.size(), trace.shape().experts));
  }
  return Inputs{std::move(plan), std::move(trace)};
}

std::string table_of(const replay::Report& report, std::int64_t predicted) {
  const replay::Seconds seconds = report.seconds();
  report::Table table({"what", "replayed"});
  table.add({"bytes between nodes, measured",
             report::with_commas(static_cast<std::uint64_t>(report.inter_node_bytes()))});
  table.add({"bytes between nodes, predicted", report::with_commas(static_cast<std::uint64_t>(predicted))});
  table.add({"bytes between GPUs of a node",
             report::with_commas(static_cast<std::uint64_t>(report.intra_node_bytes()))});
  table.add({"dispatch, mean of ranks", fmt::format("{:.3f} s", seconds.dispatch)});
  table.add({"experts", fmt::format("{:.3f} s", seconds.compute)});
  table.add({"combine", fmt::format("{:.3f} s", seconds.combine)});
  table.add({"waiting for the slowest", fmt::format("{:.3f} s", seconds.wait)});
  table.add({"dispatch + combine, slowest rank", fmt::format("{:.3f} s", seconds.slowest_dispatch_combine)});
  table.add(
      {"experts a GPU's micro-batch asks for, all layers", fmt::format("{:.1f}", report.asked_experts())});
  table.add({"outputs compared", fmt::format("{} tokens", report.checked_tokens)});
  table.add({"largest error", fmt::format("{:.3g}", report.max_abs_error())});
  return table.text();
}

Json json_of(const Options& options, const replay::Report& report, const PredictedBytes& predicted,
             const ReplayWork& work) {
  Json json = replay::to_json(report);
  json["plan"] = options.plan;
  json["trace"] = options.trace;
  json["requests"] = work.on;
  json["micro_batches"] = options.choice.micro_batches;
  json["batch_requests"] = options.choice.batch_requests;
  json["predicted_inter_node_bytes"] = predicted.total_inter();
  json["predicted_intra_node_bytes"] = predicted.total_intra();
  json["predicted_inter_node_bytes_by_layer"] = Json::Array(predicted.inter.begin(), predicted.inter.end());
  return json;
}

/// The measurement is worth something only where it confirms: per layer, both kinds of bytes, and results.
Status judge(const replay::Report& report, const PredictedBytes& predicted) {
  for (std::size_t row = 0; row < report.layers.size(); ++row) {
    const replay::LayerReport& layer = report.layers[row];
    const std::int64_t inter = layer.inter_node_bytes(report.topology),
                       intra = layer.intra_node_bytes(report.topology);
    if (!predicted.holds(report, row)) {
      return answer_no(fmt::format(
          "Layer {}: {} bytes arrived from other nodes and {} from GPUs of the same, where the evaluator "
          "counts {} and {}; one of the two is wrong: please report it.",
          index(layer.layer), inter, intra, predicted.inter[row], predicted.intra[row]));
    }
  }
  if (!report.within_tolerance()) {
    return answer_no(
        fmt::format("Outputs differ from the reference by {:.3g}, more than {:.3g} of the largest; see "
                    "max_abs_error by layer (--json).",
                    report.max_abs_error(), replay::tolerance(report.options.wire)));
  }
  return {};
}

Status run(Context& context, const Options& options) {
  comm::Comm& comm = context.comm;
  if (!options.html.empty()) MOESAIC_TRY(report::can_render());
  if (options.choice.micro_batches == "grouped" && options.choice.batch_requests < 2) {
    return bad_input(
        "--micro-batches grouped: a group of one request shares nothing; give --batch-requests, from 2 to "
        "64.");
  }
  const auto inputs = open_inputs(context, options);
  MOESAIC_TRY(comm::agree(comm, inputs));
  MOESAIC_TRY(
      comm::same_everywhere(comm, std::to_string(hash_bytes(artifact::to_json(inputs->plan))), "plan"));
  MOESAIC_TRY(comm::same_everywhere(comm, inputs->trace.digest(), "trace"));
  MOESAIC_ASSIGN(const replay::Options replayed,
                 replay_options(context.files, options, inputs->plan, inputs->trace));
  std::vector<std::string> said;
  MOESAIC_ASSIGN(std::vector<std::string> hosts,
                 replay::check_ranks(inputs->plan.placement.topology(), comm, said));
  progress("giving requests their homes");
  MOESAIC_ASSIGN(ReplayWork work, replay_work(inputs->plan, inputs->trace, options.choice, comm));
  work.said.insert(work.said.begin(), said.begin(), said.end());
  MOESAIC_ASSIGN(const PredictedBytes predicted,
                 predict_bytes(inputs->plan, inputs->trace, work, replayed, comm));
  const std::size_t layers = inputs->plan.shape.layers.size();
  MOESAIC_ASSIGN(
      replay::Report report,
      replay::run(inputs->plan, inputs->trace, work.spans, replayed, comm, steady_clock(),
                  [&](std::size_t row) { progress(fmt::format("layer {} of {}", row + 1, layers)); }));
  report.hosts = std::move(hosts);
  progress_done();
  const Json json = json_of(options, report, predicted, work);
  if (options.json != "-") {
    print_once(context, fmt::format("{} on {}: {}, {} tokens in {} micro-batches, {} {}\n{}", options.plan,
                                    options.trace, work.on, report.tokens, report.batches, options.mode,
                                    options.wire, table_of(report, predicted.total_inter())));
    if (comm.is_root()) print_notes(work.said);
  }
  Status written = write_json(context, options.json, json);
  if (written && comm.is_root() && !options.html.empty()) {
    written = report::write(replay_page(report, predicted, options.plan, options.trace, work), context.files,
                            options.html, true);
  }
  MOESAIC_TRY(comm::agree(comm, written));
  return judge(report, predicted);
}

}  // namespace

void add_replay(CLI::App& app, Context& context) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "replay", "Run a plan: a rank is a GPU, real bytes, real matrices, checked against the evaluator");
  command->add_option("plan", options->plan, "plan.json")->required();
  command->add_option("trace", options->trace, "Trace store of the same model, read by every rank")
      ->required();
  command->add_option("--mode", options->mode, "dedup (a copy a node) or per-expert (a copy a row)")
      ->capture_default_str();
  command->add_option("--wire", options->wire, "Numbers of hidden states as sent: bf16 or f32")
      ->capture_default_str();
  command->add_option("--compute", options->compute, "on, or off: time communication alone")
      ->capture_default_str();
  command->add_option("--scale", options->scale, "The model's sizes are divided by this")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  command->add_option("--hidden", options->hidden, "Size of a hidden state, instead")
      ->check(CLI::Range(1, 65'536));
  command->add_option("--intermediate", options->intermediate, "Size of an expert, instead")
      ->check(CLI::Range(1, 65'536));
  command->add_option("--batch-tokens", options->batch_tokens, "Tokens of one GPU in a micro-batch")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  command
      ->add_option("--micro-batches", options->choice.micro_batches,
                   "Which requests run in step: fifo, or grouped (those that share experts)")
      ->check(CLI::IsMember({"fifo", "grouped"}))
      ->capture_default_str();
  command
      ->add_option("--batch-requests", options->choice.batch_requests,
                   "Requests of a home that run in step, their tokens by turns (grouped: 2 to 64)")
      ->capture_default_str()
      ->check(CLI::Range(1, 64));
  command
      ->add_option("--check-tokens", options->check_tokens,
                   "Tokens a GPU and layer whose output is compared with the reference")
      ->capture_default_str();
  command->add_option("--requests", options->choice.requests,
                      "all, train or heldout (default: heldout on the plan's own trace, else all)");
  command->add_option("--limit", options->choice.limit, "Only the first requests, in arrival order; 0 = all")
      ->capture_default_str();
  command->add_option("--dispatch", options->dispatch, "Replica choice (default: the plan's)");
  command->add_option("--phase", options->choice.phase, "decode, prefill or all (default: the plan's)");
  command->add_option("--predict-from", options->choice.predict_from, "As for plan (default: the plan's)");
  command->add_option("--assign", options->choice.assign, "Homes: after-prefill, predicted or random")
      ->capture_default_str();
  command
      ->add_option("--home-slack", options->choice.home_slack, "A home holds at most (1 + this) x the mean")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  command->add_option("--model", options->model, kModelHelp);
  command->add_option("--html", options->html, "Write a page: bytes from rank to rank, time by layer");
  command->add_option("--json", options->json, "Write everything as JSON; - = stdout, and no table");
  run_when_chosen(*command, context, [&context, options] { return run(context, *options); });
}

}  // namespace moesaic::app
