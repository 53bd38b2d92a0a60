#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <optional>

#include "command.hpp"
#include "evaluate/selected_tokens.hpp"
#include "planning/router_fit.hpp"
#include "report/table.hpp"
#include "score_table.hpp"

namespace moesaic::app {
namespace {

struct Options {
  std::string trace, output, json, layers = "all", transform = "count_idf", requests = "train";
  std::optional<std::string> phase, predict_from, prompts;
  std::size_t decoders = 0, threads = 0;
  std::uint64_t seed = 0;
  bool force = false;
};

Status parse_layers(const std::string& text, planning::RouterFitOptions& fit) {
  if (text == "all" || text == "best") {
    fit.layer_rule = text == "all" ? planning::LayerRule::kAll : planning::LayerRule::kBest;
    return {};
  }
  fit.layer_rule = planning::LayerRule::kFirst;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), fit.layers);
  if (error != std::errc() || end != text.data() + text.size()) {
    return bad_input(fmt::format("--layers {}: expected all, best or a number of layers.", text));
  }
  return {};
}

Result<planning::RouterFitOptions> parse(const Options& options) {
  planning::RouterFitOptions fit{.decoders = options.decoders, .seed = options.seed};
  MOESAIC_TRY(parse_layers(options.layers, fit));
  MOESAIC_ASSIGN(fit.transform, signature::parse_transform(options.transform));
  MOESAIC_ASSIGN(fit.fitted_on, parse_request_set(options.requests));
  if (fit.fitted_on == RequestSet::kHeldout) {
    return bad_input(
        "--requests heldout: a router is fitted on train or all; held-out requests are for scoring.");
  }
  return fit;
}

/// A row a transform; the one in the router is starred.
std::string table_of(const planning::RouterFit& fit, signature::Transform chosen) {
  report::Table table({"\ntransform", "rho\nall layers", "greedy\nlayers", "rho\ngreedy", "request\ntype %"});
  for (const planning::TransformScore& score : fit.transforms) {
    table.add({std::string(signature::name(score.transform)) + (score.transform == chosen ? " *" : ""),
               report::number(score.rho_all, 3), std::to_string(score.greedy.size()),
               report::number(score.rho_greedy, 3),
               score.accuracy ? report::number(100 * *score.accuracy, 1) : "-"});
  }
  return table.text();
}

void print_fit(const Options& options, const planning::RouterFit& fit,
               const planning::RouterFitOptions& how) {
  const planning::ClusterScore& clusters = fit.clusters;
  fmt::print("{}: {} decoders, {} on {} of {} layers\n", options.output, options.decoders,
             signature::name(how.transform), fit.router.assigner.space.layers.size(),
             fit.router.shape.layers.size());
  fmt::print("Fitted on {} requests, scored on {} {}:\n{}", fit.fitted, fit.scored,
             how.fitted_on == RequestSet::kAll ? "of the same (in sample)" : "that it has not seen",
             table_of(fit, how.transform));
  fmt::print(
      "rho: Spearman, cosine distance of signatures against that of decodes, {} random pairs; * is written\n",
      how.pairs);
  fmt::print(
      "Requests a decoder: {} to {} as clustered; scored ones, each to its nearest: max/mean {:.2f}, mean\n"
      "cosine {:.3f}\n",
      std::ranges::min(clusters.fitted), std::ranges::max(clusters.fitted), clusters.scored_max_over_mean,
      clusters.cosine);
  if (fit.prompts) {
    const planning::PromptScore& score = *fit.prompts;
    fmt::print(
        "From the prompt alone ({} texts fitted, {} scored), the decoder that the decode belongs to: {:.1f} "
        "%;\n"
        "from the prefill {:.1f} %, the most usual one {:.1f} %; mean cosine of a decode to what was named "
        "{:.3f}, {:.3f},\n{:.3f}, at best {:.3f}\n",
        score.fitted, score.scored, 100 * score.accuracy, 100 * score.prefill_accuracy, 100 * score.chance,
        score.cosine, score.prefill_cosine, score.chance_cosine, score.best_cosine);
  }
  print_notes(fit.router.notes);
}

Status run(Context& context, const Options& options) {
  // Nothing is worth computing that cannot be kept.
  MOESAIC_TRY(refuse_existing(context, options.output, options.force));
  MOESAIC_ASSIGN(planning::RouterFitOptions how, parse(options));
  progress("reading " + options.trace);
  MOESAIC_ASSIGN(const trace::Trace trace, trace::Trace::open(context.files, options.trace));
  std::vector<std::string> said;
  if (trace.kind() == trace::Kind::kTokens) {  // else fit_router() says what is wrong
    MOESAIC_ASSIGN(evaluate::PhaseChoice phases,
                   evaluate::choose_phases(trace, options.phase, options.predict_from));
    how.phase = phases.phase;
    how.from = phases.from;
    said = std::move(phases.said);
  }
  artifact::PromptTexts prompts;
  if (options.prompts) {
    MOESAIC_ASSIGN(prompts, artifact::read_prompts(context.files, *options.prompts));
    how.prompts = &prompts;
  }
  ThreadPool pool(options.threads);
  progress("fitting");
  MOESAIC_ASSIGN(planning::RouterFit fit, planning::fit_router(trace, how, pool));
  fit.router.notes.insert(fit.router.notes.begin(), said.begin(), said.end());
  MOESAIC_TRY(artifact::write_router(context.files, options.output, fit.router, options.force));
  progress_done();
  if (options.json != "-") print_fit(options, fit, how);
  Json json = fit.router.score;
  json["schema"] = "moesaic.fit/1";
  json["router"] = options.output;
  json["trace"] = options.trace;
  json["decoders"] = options.decoders;
  json["transform"] = signature::name(how.transform);
  json["layers"] = fit.router.assigner.space.layers.size();
  return write_json(context, options.json, json);
}

}  // namespace

void add_fit(CLI::App& app, Context& context) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("fit", "Learn from a trace which decoder a request belongs to: router.json");
  command->add_option("trace", options->trace, "Trace store of tokens")->required();
  command->add_option("-o,--output", options->output, "Where to write the router")->required();
  command->add_option("--decoders", options->decoders, "Decoders: one cluster of requests each")
      ->required()
      ->check(CLI::PositiveNumber);
  command
      ->add_option("--transform", options->transform,
                   "Signature of a prefill: count, count_idf, sqrt_count, binary or gate_probability")
      ->capture_default_str();
  command
      ->add_option("--layers", options->layers,
                   "Layers in it: all, best (greedy choice) or how many of that choice")
      ->capture_default_str();
  command->add_option("--predict-from", options->predict_from,
                      "What stands for a prefill: prefill, fraction:F or fraction:F,max:N");
  command->add_option("--prompts", options->prompts,
                      "Prompt texts by request id, JSON lines: learn the decoder from the text alone");
  command->add_option("--phase", options->phase,
                      "Tokens to foretell: decode, prefill or all (default: decode where present)");
  command->add_option("--requests", options->requests, "Fit on train (scored on held-out ones) or all")
      ->capture_default_str();
  command->add_option("--seed", options->seed, "Seed of the held-out split and of random choices")
      ->capture_default_str();
  command->add_option("--threads", options->threads, "Threads; 0 = one a core")->capture_default_str();
  command->add_flag("--force", options->force, "Replace an existing file");
  command->add_option("--json", options->json, "Write the scores as JSON; - = stdout");
  run_when_chosen(*command, context, [&context, options] { return run(context, *options); });
}

}  // namespace moesaic::app
