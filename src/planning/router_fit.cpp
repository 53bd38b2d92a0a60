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
  std::size_t layers = 0, experts = 0;
  std::vector<float> prefill{}, decode{};  ///< [requests, L, E]
  std::vector<std::uint32_t> domain{};     ///< [requests]
  std::size_t left_out = 0;                ///< requests that lack one of the two

  signature::CountsView before() const { return {layers, experts, prefill}; }
  signature::CountsView after() const { return {layers, experts, decode}; }
  signature::LabelledCounts labelled() const { return {before(), domain}; }
  std::size_t requests() const { return domain.size(); }
};

Result<Usage> read_usage(const trace::Trace& trace, RequestSet set, const RouterFitOptions& options,
                         ThreadPool& pool) {
  const trace::RequestTable& table = trace.requests();
  Usage usage{.layers = trace.shape().layers.size(), .experts = trace.shape().experts};
  std::vector<std::uint32_t> rows = select_requests(table.id, table.domain, set, options.seed);
  usage.left_out = std::erase_if(rows, [&](std::uint32_t r) {
    const TokenSpans spans =
        token_spans(table.prefill_tokens[r], table.decode_tokens[r], options.phase, options.from);
    return spans.predict_begin == spans.predict_end || spans.score_begin == spans.score_end;
  });
  const evaluate::SelectedTokens tokens(
      trace, {.requests = std::move(rows), .phase = options.phase, .from = options.from});
  for (const std::uint32_t r : tokens.requests()) usage.domain.push_back(table.domain[r]);
  MOESAIC_ASSIGN(usage.prefill, tokens.usage(evaluate::Part::kPredict, pool));
  MOESAIC_ASSIGN(usage.decode, tokens.usage(evaluate::Part::kScore, pool));
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
    return bad_input(
        "gate_probability: needs summed router weights, and a fit reads counts of choices; use count_idf, "
        "count, sqrt_count or binary.");
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
  const std::vector<double> cosines = signature::scores(assigner, scored.before());
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
    if (transform == Transform::kGateProbability) continue;
    const signature::FittedSpace space =
        signature::fit_space(trace.shape(), transform, fitted.before(), fitted.after(), pairs, pool);
    const signature::Space greedy = greedy_space(space, options);
    const auto rho = [&](const signature::Space& on) {
      return signature::signature_rho(on, scored.before(), scored.after(), pairs, pool);
    };
    TransformScore score{.transform = transform,
                         .rho_all = rho(space.all),
                         .greedy = greedy.layers,
                         .rho_greedy = rho(greedy)};
    if (domains >= 2) {
      score.accuracy = signature::type_accuracy(space.all, fitted.labelled(), scored.labelled(), domains);
    }
    out.transforms.push_back(std::move(score));
    if (transform == options.transform) chosen = options.layer_rule == LayerRule::kAll ? space.all : greedy;
  }

  MOESAIC_ASSIGN(auto clusters,
                 signature::cluster_signatures(
                     chosen, fitted.before(),
                     {.clusters = options.decoders, .starts = options.starts, .seed = options.seed}, pool));
  out.router.made_by = fmt::format("moesaic {}", version());
  out.router.shape = trace.shape();
  out.router.assigner = {.space = std::move(chosen),
                         .prototypes = std::move(clusters.centroids),
                         .capacities = signature::equal_shares(options.decoders),
                         .target = signature::Target::kDecoder};
  MOESAIC_TRY(signature::validate(out.router.assigner));
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
