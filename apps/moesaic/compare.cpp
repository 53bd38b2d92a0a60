#include <fmt/format.h>

#include <memory>

#include "command.hpp"
#include "plan_options.hpp"
#include "planning/compare.hpp"
#include "score_table.hpp"

namespace moesaic::app {
namespace {

struct Options {
  PlanOptions common;
  std::string trace, json;
  std::vector<std::string> algorithms = {"linear", "random", "round-robin", "eplb", "patterns", "moesaic"};
  std::size_t splits = 5;
};

Status run(Context& context, const Options& options) {
  ThreadPool pool(options.common.threads);
  MOESAIC_ASSIGN(const trace::Trace trace, trace::Trace::open(context.files, options.trace));
  if (trace.kind() == trace::Kind::kCounts) {
    return bad_input(fmt::format(
        "{}: holds counts; compare needs the tokens of a per-token trace (plan works).", options.trace));
  }
  MOESAIC_ASSIGN(const Resolved resolved, resolve(options.common, trace, pool));
  MOESAIC_ASSIGN(const planning::PlaceOptions place, place_options(options.common, resolved, ""));
  MOESAIC_ASSIGN(const planning::Comparison comparison,
                 planning::compare(trace, resolved.split, options.splits, options.algorithms, place,
                                   {.objective = place.objective,
                                    .step_requests = options.common.step_tokens,
                                    .bytes_per_copy = resolved.bytes_per_copy},
                                   pool, progress));
  progress_done();
  fmt::print(
      "{} on {} nodes x {} GPUs, {} slots a GPU, {} phase, homes from {}; held-out requests, mean of {} "
      "splits\n{}{}",
      options.trace, options.common.nodes, options.common.gpus_per_node, resolved.slots_per_gpu,
      name(resolved.split.phase), to_string(resolved.split.from), options.splits,
      score_table(comparison.mean), score_legend(options.common.nodes));
  print_notes(resolved.said);
  Json json;
  json["schema"] = "moesaic.compare/1";
  json["trace"] = options.trace;
  json["splits"] = options.splits;
  json["slots_per_gpu"] = resolved.slots_per_gpu;
  json["phase"] = name(resolved.split.phase);
  json["predict_from"] = to_string(resolved.split.from);
  json["algorithms"] = Json::Object{};
  for (std::size_t a = 0; a < options.algorithms.size(); ++a) {
    Json& one = json["algorithms"][options.algorithms[a]];
    one = evaluate::to_json(comparison.mean[a].score, false);
    Json::Array splits;
    for (const auto& split : comparison.by_split) splits.push_back(evaluate::to_json(split[a].score, false));
    one["splits"] = std::move(splits);
  }
  return write_json(context, options.json, json);
}

}  // namespace

void add_compare(CLI::App& app, Context& context) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "compare", "Score several algorithms on the same held-out requests, mean of several splits");
  command->add_option("trace", options->trace, "Trace store")->required();
  command
      ->add_option("-a,--algorithms", options->algorithms,
                   "Which, see `moesaic algorithms`; A@B: A at the imbalance that B reaches")
      ->delimiter(',')
      ->capture_default_str();
  command->add_option("--splits", options->splits, "Splits, of seeds --seed, --seed + 1, ...")
      ->capture_default_str()
      ->check(CLI::Range(1, 100));
  options->common.add_topology(*command);
  options->common.add_planning(*command);
  options->common.add_scoring(*command);
  command->add_option("--json", options->json, "Write all figures, each split too; - = stdout");
  run_when_chosen(*command, context, [&context, options] { return run(context, *options); });
}

}  // namespace moesaic::app
