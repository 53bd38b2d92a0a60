#include <fmt/format.h>

#include <memory>
#include <optional>

#include "artifact/plan.hpp"
#include "command.hpp"
#include "evaluate/selected_tokens.hpp"
#include "report/table.hpp"
#include "score_table.hpp"
#include "simulate/learning.hpp"
#include "simulate/micro_batch_study.hpp"

namespace moesaic::app {
namespace {

struct Options {
  std::string trace, plan, mode = "dedup", json;
  std::optional<std::string> predict_from;
  std::vector<std::size_t> requests{8, 12}, pools{64};
  std::size_t steps = 16, max_wait = 32, batches = 400, threads = 0, one_in = 2, predict_folds = 0;
  std::uint64_t seeds = 5, first_seed = 0, split_seed = 0;
  double copy_price = 1;
};

Result<grouping::CopyMode> parse_mode(const std::string& text) {
  if (text == "dedup") return grouping::CopyMode::kDedup;
  if (text == "per-expert") return grouping::CopyMode::kPerExpert;
  return bad_input(fmt::format("--mode {}: expected dedup or per-expert.", text));
}

Result<std::optional<grouping::ExpectedCopies>> copies_of(Context& context, const Options& options,
                                                          const ModelShape& shape) {
  MOESAIC_ASSIGN(const grouping::CopyMode mode, parse_mode(options.mode));
  if (options.plan.empty()) return std::nullopt;
  MOESAIC_ASSIGN(const artifact::Plan plan, artifact::read_plan(context.files, options.plan));
  if (plan.placement.layers() != shape.layers || plan.placement.experts() != shape.experts) {
    return bad_input(fmt::format("{}: is a plan for other layers or experts than those of {}; plan from it.",
                                 options.plan, options.trace));
  }
  return grouping::ExpectedCopies(plan.placement, plan.attention, plan.dispatch, mode);
}

std::string percent(const simulate::Estimate& value) {
  return fmt::format("{:+.1f} ±{:.1f}", 100 * value.mean, 100 * value.half);
}

std::string table_of(const simulate::StudyOutcome& outcome, bool with_copies) {
  using simulate::StudyFigures;
  std::vector<std::string> head{"\npicked by",      "experts\na step", "\nchange %",
                                "requests\na step", "wait,\nbatches",  "\nlongest"};
  if (with_copies) head.insert(head.end(), {"node copies\na token", "\nchange %"});
  report::Table table(head);
  for (const simulate::Picker picker : simulate::kPickers) {
    const auto mean = [&](double StudyFigures::* figure) { return outcome.estimate(picker, figure).mean; };
    const auto change = [&](double StudyFigures::* figure) {
      return picker == simulate::Picker::kFifo ? std::string("-") : percent(outcome.change(picker, figure));
    };
    std::vector<std::string> row{std::string(simulate::name(picker)),
                                 report::number(mean(&StudyFigures::experts_per_step), 1),
                                 change(&StudyFigures::experts_per_step),
                                 report::number(mean(&StudyFigures::requests_per_step), 2),
                                 report::number(mean(&StudyFigures::mean_wait), 1),
                                 report::number(mean(&StudyFigures::longest_wait), 0)};
    if (with_copies) {
      row.push_back(report::number(mean(&StudyFigures::node_copies_per_token), 2));
      row.push_back(change(&StudyFigures::node_copies_per_token));
    }
    table.add(std::move(row));
  }
  return table.text();
}

Status run(Context& context, const Options& options) {
  if (options.predict_folds == 1)
    return bad_input("--predict-folds 1 leaves nobody to learn from; give 0, or 2 and more.");
  if (options.one_in == 1 && options.predict_folds == 0) {
    return bad_input(
        "--one-in 1 serves every request and leaves none to learn from; give --predict-folds 2 or more "
        "(served "
        "requests teach each other), or --one-in 2 or more.");
  }
  ThreadPool pool(options.threads);
  progress("reading " + options.trace);
  MOESAIC_ASSIGN(const trace::Trace trace, trace::Trace::open(context.files, options.trace));
  simulate::RecordingSplit split{.one_in = options.one_in, .seed = options.split_seed};
  std::vector<std::string> said;
  if (trace.kind() == trace::Kind::kTokens) {  // else read_part() says what is wrong
    MOESAIC_ASSIGN(evaluate::PhaseChoice phases,
                   evaluate::choose_phases(trace, "decode", options.predict_from));
    split.predict_from = phases.from;
    said = std::move(phases.said);
  }
  MOESAIC_ASSIGN(const simulate::Recording served,
                 simulate::read_part(trace, split, RequestSet::kHeldout, pool));
  simulate::Recording learnt{.shape = served.shape};  // nobody when all are served
  if (options.one_in > 1) {
    MOESAIC_ASSIGN(learnt, simulate::read_part(trace, split, RequestSet::kTrain, pool));
  }
  if (learnt.requests.size() + served.requests.size() < 2) {
    return bad_input(fmt::format(
        "{}: holds one request to serve and none to learn from; give a longer trace.", options.trace));
  }
  MOESAIC_ASSIGN(const std::optional<grouping::ExpectedCopies> copies,
                 copies_of(context, options, served.shape));
  progress("learning");
  const simulate::Foretellers foretellers =
      simulate::fit_foretellers(learnt, served, options.predict_folds, pool);
  if (options.predict_folds > 0) said.push_back(simulate::folds_note(options.predict_folds));
  std::vector<simulate::StudyOptions> studies;
  for (const std::size_t size : options.pools) {
    for (const std::size_t requests : options.requests) {
      studies.push_back({.batch = {.requests = requests,
                                   .pool = size,
                                   .max_wait = options.max_wait,
                                   .copy_price = copies ? options.copy_price : 0},
                         .steps = options.steps,
                         .batches = options.batches});
    }
  }
  progress("running");
  MOESAIC_ASSIGN(const std::vector<simulate::StudyOutcome> outcomes,
                 simulate::run_studies(served, foretellers, copies ? &*copies : nullptr, studies,
                                       options.seeds, options.first_seed, pool));
  progress_done();
  if (options.json != "-") {
    fmt::print(
        "{}: {} requests served, {} others learnt from; micro-batches of {} steps; {} seeds; changes "
        "against\n"
        "fifo, seed by seed, with 95 % intervals\n",
        options.trace, served.requests.size(), learnt.requests.size(), options.steps, options.seeds);
    for (const simulate::StudyOutcome& outcome : outcomes) {
      fmt::print("\n{} of {} requests in flight\n{}", outcome.options.batch.requests,
                 outcome.options.batch.pool, table_of(outcome, copies.has_value()));
    }
    print_notes(said);
  }
  Json json;
  json["schema"] = "moesaic.microbatch/1";
  json["trace"] = options.trace;
  json["plan"] = copies ? Json(options.plan) : Json();
  json["mode"] = copies ? Json(options.mode) : Json();
  json["copy_price"] = copies ? Json(options.copy_price) : Json();
  json["predict_folds"] = options.predict_folds;
  json["predict_from"] = to_string(split.predict_from);
  json["requests_served"] = served.requests.size();
  json["requests_learnt_from"] = learnt.requests.size();
  json["steps"] = options.steps;
  json["max_wait"] = options.max_wait;
  json["batches"] = options.batches;
  json["seeds"] = options.seeds;
  json["first_seed"] = options.first_seed;
  json["pools"] = simulate::to_json(outcomes, copies.has_value());
  return write_json(context, options.json, json);
}

}  // namespace

void add_microbatch(CLI::App& app, Context& context) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "microbatch", "How many experts fewer a step reads when alike requests run together");
  command->add_option("trace", options->trace, "Trace store of tokens")->required();
  command->add_option("--requests", options->requests, "Requests of a micro-batch, several with commas")
      ->delimiter(',')
      ->check(CLI::Range(1, 65'536))
      ->capture_default_str();
  command->add_option("--pool", options->pools, "Requests in flight to pick from, several with commas")
      ->delimiter(',')
      ->check(CLI::Range(1, 65'536))
      ->capture_default_str();
  command->add_option("--steps", options->steps, "Decode steps that a micro-batch runs")
      ->check(CLI::Range(1, 65'536))
      ->capture_default_str();
  command
      ->add_option("--max-wait", options->max_wait,
                   "Micro-batches that a request waits at most (or as long as first in, first out would)")
      ->check(CLI::Range(0, 1'000'000))
      ->capture_default_str();
  command->add_option("--plan", options->plan,
                      "Plan whose homes take micro-batches in turn; counts copies between nodes");
  command->add_option("--mode", options->mode, "Copies of that plan: dedup or per-expert")
      ->capture_default_str();
  command->add_option("--copy-price", options->copy_price, "Experts that one copy between nodes is worth")
      ->check(CLI::Range(0.0, 1e6))
      ->capture_default_str();
  command->add_option("--predict-from", options->predict_from,
                      "What stands for a prefill: prefill, fraction:F or fraction:F,max:N");
  command
      ->add_option("--one-in", options->one_in,
                   "One request in so many is served, the others teach; 1: all are, see --predict-folds")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  command
      ->add_option(
          "--predict-folds", options->predict_folds,
          "Served requests teach too: each is foretold by who has learnt from the others but its part "
          "in so many; 0: they teach nobody")
      ->check(CLI::Range(0, 100))
      ->capture_default_str();
  command->add_option("--split-seed", options->split_seed, "Seed of that split")->capture_default_str();
  command->add_option("--batches", options->batches, "Micro-batches of a run")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  command->add_option("--seeds", options->seeds, "Runs, each with its own order of requests")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->add_option("--first-seed", options->first_seed, "Seed of the first run")->capture_default_str();
  command->add_option("--threads", options->threads, "Threads; 0 = one a core")->capture_default_str();
  command->add_option("--json", options->json, "Write all figures; - = stdout");
  run_when_chosen(*command, context, [&context, options] { return run(context, *options); });
}

}  // namespace moesaic::app
