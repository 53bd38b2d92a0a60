#include "simulate/learning.hpp"

#include <fmt/format.h>

#include "core/check.hpp"
#include "evaluate/selected_tokens.hpp"
#include "signature/space_fit.hpp"

namespace moesaic::simulate {

Result<Recording> read_part(const trace::Trace& trace, const RecordingSplit& split, RequestSet set,
                            ThreadPool& pool) {
  if (trace.kind() == trace::Kind::kCounts) {
    return bad_input(
        fmt::format("{}: holds counts; simulate needs the tokens of a per-token trace.", trace.path()));
  }
  const trace::RequestTable& table = trace.requests();
  const evaluate::SelectedTokens tokens(
      trace, {.requests = select_requests(table.id, table.domain, set, split.seed, split.one_in),
              .phase = Phase::kDecode,
              .from = split.predict_from});
  return read_recording(tokens, pool);
}

std::vector<float> decode_counts(const Recording& recording) {
  std::vector<float> counts = recording.decode_shares;
  const std::size_t cells = recording.cells();
  for (std::size_t r = 0; r < recording.requests.size(); ++r) {
    const auto tokens = static_cast<float>(recording.requests[r].decode_tokens);
    for (std::size_t cell = 0; cell < cells; ++cell) counts[r * cells + cell] *= tokens;
  }
  return counts;
}

namespace {

/// What predictors learn from.
struct Lessons {
  std::size_t layers = 0, experts = 0;
  std::vector<float> prefill{}, decode{};
  std::vector<std::uint32_t> prefill_tokens{}, decode_tokens{};

  void add(const Recording& recording, std::size_t request) {
    const RecordedRequest& of = recording.requests[request];
    const std::span<const float> counts = recording.counts(request);
    prefill.insert(prefill.end(), counts.begin(), counts.end());
    for (const float share : recording.shares(request))
      decode.push_back(share * static_cast<float>(of.decode_tokens));
    prefill_tokens.push_back(of.counted_tokens);
    decode_tokens.push_back(of.decode_tokens);
  }

  signature::Predictor fit(ThreadPool& pool) const {
    return signature::fit_predictor({.prefill = {layers, experts, prefill},
                                     .decode = {layers, experts, decode},
                                     .prefill_tokens = prefill_tokens,
                                     .decode_tokens = decode_tokens},
                                    {}, pool);
  }
};

Lessons lessons_of(const Recording& training) {
  Lessons out{.layers = training.shape.layers.size(), .experts = training.shape.experts};
  for (std::size_t r = 0; r < training.requests.size(); ++r) out.add(training, r);
  return out;
}

}  // namespace

signature::Predictor fit_predictor(const Recording& training, ThreadPool& pool) {
  return lessons_of(training).fit(pool);
}

Foretellers fit_foretellers(const Recording& training, const Recording& served, std::size_t folds,
                            ThreadPool& pool) {
  MOESAIC_CHECK(folds != 1);
  if (folds == 0) return {.of_fold = {fit_predictor(training, pool)}};
  const Lessons lessons = lessons_of(training);
  Foretellers out;
  for (std::size_t fold = 0; fold < folds; ++fold) {
    Lessons all = lessons;
    for (std::size_t r = 0; r < served.requests.size(); ++r) {
      if (r % folds != fold) all.add(served, r);
    }
    out.of_fold.push_back(all.fit(pool));
  }
  return out;
}

std::string folds_note(std::size_t folds) {
  return fmt::format(
      "What a served request will activate is foretold by a predictor that has learnt from the requests not "
      "served and from the served ones of {} of {} parts, those without it.",
      folds - 1, folds);
}

std::vector<float> foretell(const Foretellers& foretellers, const Recording& served, ThreadPool& pool) {
  const std::size_t cells = served.cells();
  std::vector<float> out(served.requests.size() * cells);
  pool.parallel_for(served.requests.size(), [&](std::size_t r) {
    const signature::Predictor& predictor = foretellers.of(r);
    signature::PredictionScratch scratch(predictor);
    signature::predict(predictor, served.counts(r), served.requests[r].counted_tokens,
                       std::span(out).subspan(r * cells, cells), scratch);
  });
  return out;
}

Result<PolicyFit> fit_policies(const Recording& training, std::size_t decoders, bool balanced,
                               routing::DecodePolicyConfig& policies, ThreadPool& pool) {
  const std::size_t layers = training.shape.layers.size(), experts = training.shape.experts;
  const std::vector<float> decode = decode_counts(training);
  const signature::CountsView prefill_view{layers, experts, training.prefill_counts};
  const signature::CountsView decode_view{layers, experts, decode};
  policies.marginal.predictor = fit_predictor(training, pool);

  const signature::FittedSpace space = signature::fit_space(
      training.shape, signature::Transform::kCountIdf, prefill_view, decode_view, {.pairs = 10'000}, pool);
  policies.eldr.space = space.best();
  policies.eldr.layer_rows = layers;
  MOESAIC_ASSIGN(
      solve::KmeansResult fit,
      signature::cluster_signatures(policies.eldr.space, prefill_view,
                                    {.clusters = decoders, .balanced = balanced, .starts = 3}, pool));
  policies.eldr.centroids = std::move(fit.centroids);
  return PolicyFit{.eldr_rho = space.choice.rho, .eldr_layers = space.choice.positions.size()};
}

}  // namespace moesaic::simulate
