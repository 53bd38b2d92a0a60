#include "planning/router_fit.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "core/check.hpp"
#include "core/version.hpp"
#include "evaluate/selected_tokens.hpp"
#include "signature/assigner.hpp"
#include "signature/layer_choice.hpp"
#include "signature/space_fit.hpp"
#include "signature/type_accuracy.hpp"

namespace moesaic::planning {
namespace {

using signature::Transform;

/// What some requests activated, before and after the decoder is chosen.
struct Usage {
  std::size_t layers = 0, experts = 0, top_k = 0;
  std::vector<float> prefill{}, decode{};  ///< [requests, L, E]
  std::vector<float> weights{};            ///< [requests, L, E] router weights of the prefill; or empty
  std::vector<std::uint32_t> domain{};     ///< [requests]
  std::vector<std::uint32_t> row{};        ///< [requests] in the request table
  std::size_t left_out = 0;                ///< requests that lack one of the two

  signature::CountsView before() const { return {layers, experts, prefill}; }
  /// What signatures of that transform are made from.
  signature::CountsView before(Transform transform) const {
    return transform == Transform::kGateProbability ? signature::CountsView{layers, experts, weights}
                                                    : before();
  }
  signature::CountsView after() const { return {layers, experts, decode}; }
  std::size_t requests() const { return domain.size(); }
};

Result<Usage> read_usage(const trace::Trace& trace, RequestSet set, const RouterFitOptions& options,
                         ThreadPool& pool) {
  const trace::RequestTable& table = trace.requests();
  Usage usage{
      .layers = trace.shape().layers.size(), .experts = trace.shape().experts, .top_k = trace.shape().top_k};
  std::vector<std::uint32_t> rows = select_requests(table.id, table.domain, set, options.seed);
  usage.left_out = std::erase_if(rows, [&](std::uint32_t r) {
    const TokenSpans spans =
        token_spans(table.prefill_tokens[r], table.decode_tokens[r], options.phase, options.from);
    return spans.predict_begin == spans.predict_end || spans.score_begin == spans.score_end;
  });
  const evaluate::SelectedTokens tokens(
      trace, {.requests = std::move(rows), .phase = options.phase, .from = options.from});
  for (const std::uint32_t r : tokens.requests()) {
    usage.domain.push_back(table.domain[r]);
    usage.row.push_back(r);
  }
  MOESAIC_ASSIGN(usage.prefill, tokens.usage(evaluate::Part::kPredict, pool));
  MOESAIC_ASSIGN(usage.decode, tokens.usage(evaluate::Part::kScore, pool));
  if (trace.has_weights()) {
    MOESAIC_ASSIGN(usage.weights, tokens.router_weights(evaluate::Part::kPredict, pool));
  }
  return usage;
}

Status check_options(const trace::Trace& trace, const RouterFitOptions& options) {
  if (trace.kind() != trace::Kind::kTokens) {
    return bad_input(
        fmt::format("{}: holds counts of all requests together; a router is fitted on what single requests "
                    "activate, so import a dump that has tokens.",
                    trace.path()));
  }
  if (options.transform == Transform::kGateProbability) {
    if (!trace.has_weights()) {
      return bad_input(
          fmt::format("gate_probability: needs router weights, and {} holds the chosen experts alone; use "
                      "count_idf, count, sqrt_count or binary, or a trace with weights (docs/formats.md).",
                      trace.path()));
    }
    if (options.prompts != nullptr) {
      return bad_input(
          "gate_probability: a prompt model names the usage of groups in counts; fit it with another "
          "--transform.");
    }
  }
  const std::size_t layers = trace.shape().layers.size();
  if (options.layer_rule == LayerRule::kFirst && (options.layers == 0 || options.layers > layers)) {
    return bad_input(fmt::format("{} layers: {} has {} MoE layers; give 1 to {}, best or all.",
                                 options.layers, trace.path(), layers, layers));
  }
  return {};
}

Status check_requests(const trace::Trace& trace, const RouterFitOptions& options, const Usage& fitted,
                      const Usage& scored) {
  const std::size_t wanted = std::max<std::size_t>(2, options.decoders);
  if (fitted.requests() < wanted) {
    return bad_input(
        fmt::format("{}: {} requests to fit {} decoders on have tokens both to predict from ({}) and to "
                    "foretell ({}), expected at least {}; give fewer --decoders, another --predict-from, or "
                    "a longer trace.",
                    trace.path(), fitted.requests(), options.decoders, to_string(options.from),
                    name(options.phase), wanted));
  }
  if (scored.requests() < 2) {
    return bad_input(
        fmt::format("{}: {} requests are left to score the fit on, expected at least 2; give a longer trace, "
                    "or --requests all to score in sample.",
                    trace.path(), scored.requests()));
  }
  return {};
}

signature::Space greedy_space(const signature::FittedSpace& fitted, const RouterFitOptions& options) {
  return options.layer_rule == LayerRule::kFirst ? fitted.first(options.layers) : fitted.best();
}

ClusterScore score_clusters(const signature::Assigner& assigner, std::span<const std::uint32_t> clusters,
                            const Usage& scored) {
  const std::size_t decoders = assigner.targets();
  ClusterScore out{.fitted = std::vector<std::uint64_t>(decoders),
                   .scored = std::vector<std::uint64_t>(decoders)};
  for (const std::uint32_t cluster : clusters) ++out.fitted[cluster];
  const std::vector<double> cosines = signature::scores(assigner, scored.before(assigner.space.transform));
  const auto requests = static_cast<double>(scored.requests());
  for (std::size_t r = 0; r < scored.requests(); ++r) {
    const auto own = std::span(cosines).subspan(r * decoders, decoders);
    const std::size_t nearest = signature::best_target(own);
    ++out.scored[nearest];
    out.cosine += own[nearest] / requests;
  }
  out.scored_max_over_mean =
      static_cast<double>(std::ranges::max(out.scored)) * static_cast<double>(decoders) / requests;
  return out;
}

/// Requests of `usage` whose prompt is known.
struct Prompted {
  std::vector<std::string_view> text{};
  std::vector<std::uint32_t> request{};  ///< position in `usage`
  std::vector<std::uint32_t> group{};    ///< the target nearest to its decode
};

Prompted prompted(const trace::Trace& trace, const Usage& usage, const signature::Assigner& assigner,
                  const artifact::PromptTexts& prompts) {
  Prompted out;
  const std::vector<double> cosines = signature::scores(assigner, usage.after());
  const std::size_t targets = assigner.targets();
  for (std::uint32_t r = 0; r < usage.requests(); ++r) {
    const auto found = prompts.find(trace.requests().id[usage.row[r]]);
    if (found == prompts.end()) continue;
    out.text.push_back(found->second);
    out.request.push_back(r);
    out.group.push_back(
        static_cast<std::uint32_t>(signature::best_target(std::span(cosines).subspan(r * targets, targets))));
  }
  return out;
}

/// [targets, L, E]: mean activations a prefill token of the requests of each group; those of all requests
/// where a group has none.
std::vector<float> usage_of_groups(const Usage& usage, const Prompted& of, std::size_t targets) {
  const std::size_t cells = usage.layers * usage.experts;
  std::vector<double> sums(targets * cells), all(cells);
  std::vector<double> tokens(targets);
  double all_tokens = 0;
  for (std::size_t i = 0; i < of.request.size(); ++i) {
    const auto counts = usage.before().request(of.request[i]);
    // Every token activates k experts of the first layer: their sum is k x tokens.
    double rows = 0;
    for (std::size_t expert = 0; expert < usage.experts; ++expert)
      rows += static_cast<double>(counts[expert]);
    const double n = rows / static_cast<double>(usage.top_k);
    for (std::size_t cell = 0; cell < cells; ++cell) {
      sums[of.group[i] * cells + cell] += static_cast<double>(counts[cell]);
      all[cell] += static_cast<double>(counts[cell]);
    }
    tokens[of.group[i]] += n;
    all_tokens += n;
  }
  std::vector<float> out;
  for (std::size_t group = 0; group < targets; ++group) {
    const bool own = tokens[group] > 0;
    for (std::size_t cell = 0; cell < cells; ++cell) {
      const double mean =
          own ? sums[group * cells + cell] / tokens[group] : all[cell] / std::max(all_tokens, 1.0);
      out.push_back(static_cast<float>(std::clamp(mean, 0.0, 1.0)));
    }
  }
  return out;
}

PromptScore score_prompts(const signature::PromptModel& model, const signature::Assigner& assigner,
                          const Prompted& fitted, const Usage& usage, const Prompted& scored) {
  const std::size_t targets = assigner.targets();
  std::vector<std::size_t> members(targets);
  for (const std::uint32_t group : fitted.group) ++members[group];
  const auto usual = static_cast<std::size_t>(std::ranges::max_element(members) - members.begin());
  const std::vector<double> before = signature::scores(assigner, usage.before());
  const std::vector<double> after = signature::scores(assigner, usage.after());
  PromptScore out{.fitted = fitted.text.size(), .scored = scored.text.size()};
  const auto count = static_cast<double>(scored.text.size());
  for (std::size_t i = 0; i < scored.text.size(); ++i) {
    const auto of = [&](const std::vector<double>& all) {
      return std::span(all).subspan(scored.request[i] * targets, targets);
    };
    const std::size_t by_text = model.group(scored.text[i]), by_prefill = signature::best_target(of(before));
    const std::size_t truth = scored.group[i];
    out.accuracy += by_text == truth ? 1 : 0;
    out.prefill_accuracy += by_prefill == truth ? 1 : 0;
    out.chance += usual == truth ? 1 : 0;
    out.cosine += of(after)[by_text];
    out.prefill_cosine += of(after)[by_prefill];
    out.chance_cosine += of(after)[usual];
    out.best_cosine += of(after)[truth];
  }
  for (double* sum : {&out.accuracy, &out.prefill_accuracy, &out.chance, &out.cosine, &out.prefill_cosine,
                      &out.chance_cosine, &out.best_cosine}) {
    *sum /= count;
  }
  return out;
}

Status add_prompt_model(const trace::Trace& trace, const RouterFitOptions& options, const Usage& fitted,
                        const Usage& scored, RouterFit& out, ThreadPool& pool) {
  const signature::Assigner& assigner = out.router.assigner;
  const Prompted known = prompted(trace, fitted, assigner, *options.prompts);
  const Prompted unseen = prompted(trace, scored, assigner, *options.prompts);
  if (known.text.size() < 2 || unseen.text.size() < 2) {
    return bad_input(
        fmt::format("{}: of the prompts {} belong to requests that are fitted and {} to requests that are "
                    "scored, expected at least 2 each; ids must be those of the trace (the first is \"{}\").",
                    trace.path(), known.text.size(), unseen.text.size(), trace.requests().id.front()));
  }
  signature::PromptModel model =
      signature::fit_prompt_model(known.text, known.group, assigner.targets(), {}, pool);
  model.cells = fitted.layers * fitted.experts;
  model.usage = usage_of_groups(fitted, known, assigner.targets());
  out.prompts = score_prompts(model, assigner, known, scored, unseen);
  out.router.prompt_model = std::move(model);
  return {};
}

template <class T>
Json::Array numbers(const std::vector<T>& values) {
  return {values.begin(), values.end()};
}

Json score_json(const RouterFit& fit, const RouterFitOptions& options) {
  Json::Array transforms;
  for (const TransformScore& score : fit.transforms) {
    Json::Array greedy;
    for (const LayerId layer : score.greedy) greedy.emplace_back(index(layer));
    Json one = Json::Object{};
    one["transform"] = signature::name(score.transform);
    one["rho_all"] = score.rho_all;
    one["greedy_layers"] = std::move(greedy);
    one["rho_greedy"] = score.rho_greedy;
    one["type_accuracy"] = score.accuracy ? Json(*score.accuracy) : Json();
    one["chosen"] = score.transform == options.transform;
    transforms.push_back(std::move(one));
  }
  Json json = Json::Object{};
  if (fit.prompts) {
    const PromptScore& score = *fit.prompts;
    Json& prompts = json["prompts"] = Json::Object{};
    prompts["requests_fitted"] = score.fitted;
    prompts["requests_scored"] = score.scored;
    prompts["accuracy"] = score.accuracy;
    prompts["prefill_accuracy"] = score.prefill_accuracy;
    prompts["chance"] = score.chance;
    prompts["cosine"] = score.cosine;
    prompts["prefill_cosine"] = score.prefill_cosine;
    prompts["chance_cosine"] = score.chance_cosine;
    prompts["best_cosine"] = score.best_cosine;
  }
  json["transforms"] = std::move(transforms);
  json["in_sample"] = options.fitted_on == RequestSet::kAll;
  json["pairs"] = options.pairs;
  json["requests_fitted"] = fit.fitted;
  json["requests_scored"] = fit.scored;
  Json& clusters = json["clusters"] = Json::Object{};
  clusters["fitted"] = numbers(fit.clusters.fitted);
  clusters["scored"] = numbers(fit.clusters.scored);
  clusters["scored_max_over_mean"] = fit.clusters.scored_max_over_mean;
  clusters["scored_cosine"] = fit.clusters.cosine;
  return json;
}

artifact::PlanSource source_of(const trace::Trace& trace, const RouterFitOptions& options) {
  artifact::PlanSource source;
  source.trace_digest = trace.digest();
  source.trace_name = std::filesystem::path(trace.path()).filename().string();
  source.requests = name(options.fitted_on);
  source.split_seed = options.seed;
  source.phase = options.phase;
  source.predict_from = options.from;
  return source;
}

}  // namespace

Result<RouterFit> fit_router(const trace::Trace& trace, const RouterFitOptions& options, ThreadPool& pool) {
  MOESAIC_CHECK(options.fitted_on != RequestSet::kHeldout && options.decoders > 0);
  MOESAIC_TRY(check_options(trace, options));
  MOESAIC_ASSIGN(const Usage fitted, read_usage(trace, options.fitted_on, options, pool));
  MOESAIC_ASSIGN(
      const Usage scored,
      read_usage(trace, options.fitted_on == RequestSet::kAll ? RequestSet::kAll : RequestSet::kHeldout,
                 options, pool));
  MOESAIC_TRY(check_requests(trace, options, fitted, scored));

  RouterFit out{.fitted = fitted.requests(), .scored = scored.requests()};
  const signature::LayerChoiceOptions pairs{.pairs = options.pairs, .seed = options.seed};
  const std::size_t domains = trace.requests().domains.size();
  signature::Space chosen;
  for (const Transform transform : signature::kTransforms) {
    if (transform == Transform::kGateProbability && !trace.has_weights()) continue;
    const signature::FittedSpace space =
        signature::fit_space(trace.shape(), transform, fitted.before(transform), fitted.after(), pairs, pool);
    const signature::Space greedy = greedy_space(space, options);
    const auto rho = [&](const signature::Space& on) {
      return signature::signature_rho(on, scored.before(transform), scored.after(), pairs, pool);
    };
    TransformScore score{.transform = transform,
                         .rho_all = rho(space.all),
                         .greedy = greedy.layers,
                         .rho_greedy = rho(greedy)};
    if (domains >= 2) {
      score.accuracy = signature::type_accuracy(space.all, {fitted.before(transform), fitted.domain},
                                                {scored.before(transform), scored.domain}, domains);
    }
    out.transforms.push_back(std::move(score));
    if (transform == options.transform) chosen = options.layer_rule == LayerRule::kAll ? space.all : greedy;
  }

  MOESAIC_ASSIGN(auto clusters,
                 signature::cluster_signatures(
                     chosen, fitted.before(options.transform),
                     {.clusters = options.decoders, .starts = options.starts, .seed = options.seed}, pool));
  out.router.made_by = fmt::format("moesaic {}", version());
  out.router.shape = trace.shape();
  out.router.assigner = {.space = std::move(chosen),
                         .prototypes = std::move(clusters.centroids),
                         .capacities = signature::equal_shares(options.decoders),
                         .target = signature::Target::kDecoder};
  MOESAIC_TRY(signature::validate(out.router.assigner));
  if (options.prompts != nullptr) {
    MOESAIC_TRY(add_prompt_model(trace, options, fitted, scored, out, pool));
  }
  out.router.source = source_of(trace, options);
  out.router.seed = options.seed;
  out.clusters = score_clusters(out.router.assigner, clusters.cluster_of_item, scored);
  if (const std::size_t left_out = fitted.left_out + scored.left_out; left_out > 0) {
    out.router.notes.push_back(fmt::format(
        "{} requests were left out: they have no tokens to predict from or none to foretell.", left_out));
  }
  if (options.fitted_on == RequestSet::kAll) {
    out.router.notes.push_back(
        "The router was fitted on the requests it is scored on: the score is in sample.");
  }
  out.router.score = score_json(out, options);
  return out;
}

}  // namespace moesaic::planning
