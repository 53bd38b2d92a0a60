#include <fmt/format.h>

#include <memory>

#include "command.hpp"
#include "plan_options.hpp"
#include "planning/compare.hpp"
#include "report/table.hpp"
#include "score_table.hpp"

namespace moesaic::app {
namespace {

struct Options {
  PlanOptions common;
  std::string trace, json;
  std::vector<std::string> algorithms = {"linear",   "random",  "round-robin", "eplb",
                                         "patterns", "moesaic", "moesaic@all", "moesaic@scored"};
  std::size_t splits = 5;
  bool across = false;
  double learn_share = 1;
};

/// Every algorithm on domains it has not seen, and what a plan made on them would have sent.
std::string across_table(const planning::Across& across) {
  report::Table table({"placement", "copies\nunseen", "copies\nseen", "loss\n%", "per-exp\nunseen",
                       "per-exp\nseen", "node\nunseen", "max/mean\nseen", "GPU\nunseen", "max/mean\nseen"});
  for (std::size_t a = 0; a < across.unseen.mean.size(); ++a) {
    const evaluate::Score &far = across.unseen.mean[a].score, &near = across.seen.mean[a].score;
    const double copies = far.dedup.node_copies_per_token_layer,
                 oracle = near.dedup.node_copies_per_token_layer;
    table.add({shown_name(across.unseen.mean[a].name), report::number(copies, 3), report::number(oracle, 3),
               report::number(100 * (copies / oracle - 1), 1),
               report::number(far.per_expert.node_copies_per_token_layer, 3),
               report::number(near.per_expert.node_copies_per_token_layer, 3),
               report::number(far.node_max_over_mean, 3), report::number(near.node_max_over_mean, 3),
               report::number(far.gpu_max_over_mean, 3), report::number(near.gpu_max_over_mean, 3)});
  }
  return table.text();
}

Json algorithm_json(const planning::Comparison& comparison, std::size_t a) {
  Json one = evaluate::to_json(comparison.mean[a].score, false);
  Json::Array splits;
  for (const auto& split : comparison.by_split) splits.push_back(evaluate::to_json(split[a].score, false));
  one["splits"] = std::move(splits);
  return one;
}

Status run(Context& context, const Options& options) {
  ThreadPool pool(options.common.threads);
  MOESAIC_ASSIGN(const trace::Trace trace, trace::Trace::open(context.files, options.trace));
  if (trace.kind() == trace::Kind::kCounts) {
    return bad_input(fmt::format(
        "{}: holds counts; compare needs the tokens of a per-token trace (plan works).", options.trace));
  }
  MOESAIC_ASSIGN(const Resolved resolved, resolve(context.files, options.common, trace, pool));
  MOESAIC_ASSIGN(const planning::PlaceOptions place, place_options(options.common, resolved, ""));
  if (options.common.optimizes_time()) {
    return bad_input(
        "--optimize time: compare counts copies; plan with it, and time plans with `evaluate --time`.");
  }
  const bool across = options.across || !options.common.score_domains.empty();
  if (options.across && (!options.common.score_domains.empty() || !options.common.domains.empty())) {
    return bad_input("--across: halves the domains at random; leave out --domains and --score-domains.");
  }
  if (across && options.common.score_domains.empty() != options.common.domains.empty()) {
    return bad_input("--score-domains: give --domains with it, those to plan on.");
  }
  planning::SplitOptions split = resolved.split;
  split.learn_share = options.learn_share;
  const planning::CompareOptions asked{.split = split,
                                       .splits = options.splits,
                                       .algorithms = options.algorithms,
                                       .place = place,
                                       .score = {.objective = place.objective,
                                                 .step_requests = options.common.step_tokens,
                                                 .bytes_per_copy = resolved.bytes_per_copy}};
  planning::Across scores;
  if (across) {
    MOESAIC_ASSIGN(scores, planning::compare_across(trace, asked, pool, progress));
  } else {
    MOESAIC_ASSIGN(scores.unseen, planning::compare(trace, asked, pool, progress));
  }
  progress_done();
  const Topology& topology = resolved.split.topology;
  fmt::print(
      "{} on {} nodes x {} GPUs, {} slots a GPU,\n{} phase, homes from {}; held-out requests, mean of {} "
      "splits\n{}",
      options.trace, topology.nodes, topology.gpus_per_node, resolved.slots_per_gpu,
      name(resolved.split.phase), to_string(resolved.split.from), options.splits,
      across ? "" : score_table(scores.unseen.mean));
  if (across) {
    fmt::print(
        "{}Unseen: planned on {}, scored on {}.\n"
        "Seen: planned on train requests of the scored domains; the same requests are scored.\n"
        "Copies: dedup, a token and layer.\n",
        across_table(scores), options.across ? "a random half of the domains" : "--domains",
        options.across ? "the other half" : "--score-domains");
  } else {
    fmt::print("{}", score_legend(topology.nodes));
  }
  if (options.learn_share < 1) {
    fmt::print(
        "Plans learnt from {:.0f} % of the requests that they might have learnt from (--learn-share).\n",
        100 * options.learn_share);
  }
  print_notes(resolved.said);
  Json json;
  json["schema"] = "moesaic.compare/1";
  json["trace"] = options.trace;
  json["splits"] = options.splits;
  json["slots_per_gpu"] = resolved.slots_per_gpu;
  json["phase"] = name(resolved.split.phase);
  json["learn_share"] = options.learn_share;
  json["predict_from"] = to_string(resolved.split.from);
  json["algorithms"] = Json::Object{};
  for (std::size_t a = 0; a < options.algorithms.size(); ++a) {
    json["algorithms"][options.algorithms[a]] = algorithm_json(scores.unseen, a);
    if (across) json["planned_on_scored_domains"][options.algorithms[a]] = algorithm_json(scores.seen, a);
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
      ->add_option(
          "-a,--algorithms", options->algorithms,
          "Which, see `moesaic algorithms`; A@B: A at the imbalance that B reaches; A@scored: A planned "
          "on the scored tokens, A@all: on all requests, both oracles")
      ->delimiter(',')
      ->capture_default_str();
  command->add_option("--splits", options->splits, "Splits, of seeds --seed, --seed + 1, ...")
      ->capture_default_str()
      ->check(CLI::Range(1, 100));
  command->add_flag("--across", options->across,
                    "Plan on a random half of the domains (another a split), score on the other half");
  command
      ->add_option("--score-domains", options->common.score_domains,
                   "Plan on --domains, score on these: what plans are worth where they have not been")
      ->delimiter(',');
  command
      ->add_option(
          "--learn-share", options->learn_share,
          "Plans learn from this share of the requests they might learn from: does recording more pay?")
      ->capture_default_str()
      ->check(CLI::Range(0.01, 1.0));
  options->common.add_topology(*command);
  options->common.add_planning(*command);
  options->common.oracles = true;
  options->common.add_scoring(*command);
  command->add_option("--json", options->json, "Write all figures, each split too; - = stdout");
  run_when_chosen(*command, context, [&context, options] { return run(context, *options); });
}

}  // namespace moesaic::app
