// moesaic verify: does an engine run a plan, and does the plan still fit what the engine sees?
#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <utility>

#include "artifact/plan.hpp"
#include "command.hpp"
#include "core/engine_map.hpp"
#include "evaluate/drift.hpp"
#include "evaluate/running_plan.hpp"
#include "evaluate/score.hpp"
#include "evaluate/unseen_homes.hpp"
#include "ingest/importer.hpp"
#include "planning/baselines.hpp"
#include "verify_report.hpp"

namespace moesaic::app {
namespace {

struct Options {
  std::string plan, format, store, json;
  std::vector<std::string> dumps;
  double tolerance = 0.1;
  std::size_t parts = 6, threads = 0;
};

/// A folder that goes with its owner: the dump's store, where nobody asked to keep it.
class Scratch {
 public:
  static Result<Scratch> make() {
    std::string path = (std::filesystem::temp_directory_path() / "moesaic-verify-XXXXXX").string();
    if (::mkdtemp(path.data()) == nullptr) {
      return environment_error(
          fmt::format("{}: cannot make a folder for the dump's store; set TMPDIR or give --store.", path));
    }
    return Scratch(path);
  }
  Scratch(Scratch&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  Scratch& operator=(Scratch&&) = delete;
  ~Scratch() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  explicit Scratch(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

struct Opened {
  std::optional<Scratch> scratch;  ///< holds the store that `trace` reads
  std::optional<trace::Trace> trace;
  std::optional<EngineMap> map;
};

Result<Opened> open_dump(Context& context, const Options& options, const artifact::Plan& plan,
                         ThreadPool& pool) {
  Opened out;
  const bool is_store = options.dumps.size() == 1 && options.format.empty() &&
                        std::filesystem::exists(options.dumps[0] + "/zarr.json");
  std::string store = options.dumps[0];
  if (!is_store) {
    store = options.store;
    if (store.empty()) {
      MOESAIC_ASSIGN(Scratch made, Scratch::make());
      out.scratch.emplace(std::move(made));
      store = out.scratch->path() + "/dump.zarr";
    }
    ingest::ImportOptions import;
    import.output = store;
    import.format = options.format;
    import.shape = plan.shape;
    import.pool = &pool;
    progress("reading " + options.dumps[0]);
    MOESAIC_ASSIGN(ingest::ImportSummary summary, ingest::import_trace(context.files, options.dumps, import));
    out.map = std::move(summary.engine_map);
  }
  MOESAIC_ASSIGN(out.trace, trace::Trace::open(context.files, store));
  const ModelShape& shape = out.trace->shape();
  if (plan.shape.layers != shape.layers || plan.shape.experts != shape.experts) {
    return bad_input(
        fmt::format("{}: is for {} MoE layers x {} experts, {} has {} x {}; verify a plan with "
                    "dumps of its own model.",
                    options.plan, plan.shape.layers.size(), plan.shape.experts, options.dumps[0],
                    shape.layers.size(), shape.experts));
  }
  return out;
}

double figure_of(const Json& score, std::initializer_list<std::string_view> path) {
  const Json* at = &score;
  for (const std::string_view key : path) {
    if (at != nullptr) at = at->find(key);
  }
  double value = NAN;
  return at != nullptr && at->to_double(value) ? value : NAN;
}

/// Copies of the dump's requests under the plan, homes given as for any unseen request.
Result<std::optional<evaluate::Score>> score_requests(const artifact::Plan& plan, const trace::Trace& trace,
                                                      Phase phase, ThreadPool& pool) {
  if (!plan.assigner || trace.kind() != trace::Kind::kTokens || trace.requests().size() == 0) return {};
  evaluate::TokenChoice choice{.requests = {}, .phase = phase, .from = plan.source.predict_from};
  for (std::size_t r = 0; r < trace.requests().size(); ++r)
    choice.requests.push_back(static_cast<std::uint32_t>(r));
  const evaluate::SelectedTokens tokens(trace, std::move(choice));
  if (tokens.scored_tokens() == 0 || tokens.predict_tokens() == 0) return {};
  signature::Assigner assigner = *plan.assigner;
  MOESAIC_TRY(signature::bind(assigner.space, trace.shape()));
  MOESAIC_ASSIGN(const Homes homes, evaluate::unseen_homes(tokens, assigner, plan.placement.topology(),
                                                           plan.attention, {}, pool));
  const Placement* const own[] = {&plan.placement};
  MOESAIC_ASSIGN(
      const auto scores,
      evaluate::score_placements(
          tokens, homes, own,
          {.objective = {.rule = plan.dispatch, .attention = plan.attention, .seed = plan.algorithm.seed}},
          pool));
  return scores[0];
}

Result<VerifyReport> verify(const Options& options, const artifact::Plan& plan, const Opened& dump,
                            ThreadPool& pool) {
  VerifyReport out;
  if (dump.map) {
    auto running = evaluate::compare_with_engine(plan.shape, plan.placement, *dump.map);
    if (!running) {
      running.error().message = options.dumps[0] + ": " + running.error().message;
      return tl::unexpected(std::move(running).error());
    }
    out.running = *running;
  }
  MOESAIC_ASSIGN(out.loads, evaluate::observed_loads(*dump.trace, plan.source.phase, options.parts, pool));
  out.of_counts = dump.trace->kind() == trace::Kind::kCounts;
  out.drift = evaluate::drift(plan.placement, plan.loads, out.loads.total);
  for (const std::vector<double>& part : out.loads.parts) {
    out.parts.push_back(evaluate::drift(plan.placement, plan.loads, part));
  }
  out.heldout_gpu = figure_of(plan.score, {"gpu_max_over_mean"});
  out.heldout_copies = figure_of(plan.score, {"dedup", "node_copies_per_token_layer"});
  MOESAIC_ASSIGN(const auto references,
                 planning::baselines(plan.shape, plan.placement.topology(), plan.placement.slots_per_gpu(),
                                     out.loads.total, plan.algorithm.expert_groups, pool));
  for (const planning::Baseline& baseline : references) {
    if (baseline.name != "eplb") continue;
    out.eplb_gpu = evaluate::score_counts(out.loads.total, baseline.placements[0]).gpu_max_over_mean;
  }
  MOESAIC_ASSIGN(out.observed, score_requests(plan, *dump.trace, out.loads.phase, pool));

  // Out of balance: worse than the plan promised on requests it had not seen, and a new plan could do better.
  const double promised = std::fmax(out.drift.planned_gpu_max_over_mean, out.heldout_gpu);
  const auto too_far = [&](const evaluate::Drift& drift) {
    return drift.observed_gpu_max_over_mean > promised + options.tolerance;
  };
  out.imbalanced =
      too_far(out.drift) && out.drift.observed_gpu_max_over_mean > out.eplb_gpu + options.tolerance;
  for (std::size_t part = out.parts.size(); out.imbalanced && part > 0; --part) {
    if (!too_far(out.parts[part - 1])) break;
    out.since = part - 1;
  }
  out.more_copies = out.observed && out.observed->dedup.node_copies_per_token_layer >
                                        out.heldout_copies * (1 + options.tolerance);
  return out;
}

Status answer(const Options& options, const artifact::Plan& plan, const VerifyReport& report) {
  if (!report.runs()) {
    return answer_no(fmt::format(
        "{} is not what ran: export it again, start the engine with the launch flags that `moesaic export` "
        "prints, and record a new dump.",
        options.plan));
  }
  if (!report.replan()) return {};
  std::string why;
  if (report.imbalanced) {
    why = fmt::format("GPU max/mean is {:.3f}, promised {:.3f}", report.drift.observed_gpu_max_over_mean,
                      std::fmax(report.drift.planned_gpu_max_over_mean, report.heldout_gpu));
    if (report.since && report.parts.size() > 1) {
      why += fmt::format(" (since part {} of {})", *report.since + 1, report.parts.size());
    }
  }
  if (report.more_copies) {
    why += fmt::format("{}{:.3f} node copies a token and layer, promised {:.3f}", why.empty() ? "" : ", ",
                       report.observed->dedup.node_copies_per_token_layer, report.heldout_copies);
  }
  const Topology& topology = plan.placement.topology();
  return answer_no(fmt::format(
      "time to re-plan: {}. Import the dump and run `moesaic plan T --nodes {} --gpus-per-node {} "
      "--from {} --max-moves N -o new.json`, which says what each move gains.",
      why, topology.nodes, topology.gpus_per_node, options.plan));
}

Status run(Context& context, const Options& options) {
  ThreadPool pool(options.threads);
  MOESAIC_ASSIGN(const artifact::Plan plan, artifact::read_plan(context.files, options.plan));
  MOESAIC_ASSIGN(const Opened dump, open_dump(context, options, plan, pool));
  MOESAIC_ASSIGN(const VerifyReport report, verify(options, plan, dump, pool));
  progress_done();
  fmt::print("{}", verify_text(options.plan, options.tolerance, report));
  MOESAIC_TRY(
      write_json(context, options.json, verify_json(options.plan, options.dumps, options.tolerance, report)));
  return answer(options, plan, report);
}

}  // namespace

void add_verify(CLI::App& app, Context& context) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "verify", "Is the engine running this plan, do loads match it, is it time to re-plan");
  command->add_option("plan", options->plan, "plan.json")->required();
  command
      ->add_option("dumps", options->dumps,
                   "A new dump of the engine, in any format of `moesaic import`, or a trace store")
      ->required()
      ->type_name("DUMP");
  command->add_option("--format", options->format, "Format of the dump; recognised by default");
  command->add_option("--store", options->store, "Keep the dump's trace store here (for `plan --from`)");
  command
      ->add_option("--tolerance", options->tolerance,
                   "Re-plan when max/mean is this far above what was promised, or copies this share")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  command->add_option("--parts", options->parts, "Stretches of time the dump is looked at in")
      ->capture_default_str()
      ->check(CLI::Range(1, 100));
  command->add_option("--threads", options->threads, "Threads; 0 = one a core")->capture_default_str();
  command->add_option("--json", options->json, "Write what was found as JSON; - = stdout");
  run_when_chosen(*command, context, [&context, options] { return run(context, *options); });
}

}  // namespace moesaic::app
