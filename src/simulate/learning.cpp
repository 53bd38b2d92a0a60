#include "simulate/learning.hpp"

#include <fmt/format.h>

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

signature::Predictor fit_predictor(const Recording& training, ThreadPool& pool) {
  const std::vector<float> decode = decode_counts(training);
  std::vector<std::uint32_t> prefill_tokens, decode_tokens;
  for (const RecordedRequest& request : training.requests) {
    prefill_tokens.push_back(request.counted_tokens);
    decode_tokens.push_back(request.decode_tokens);
  }
  const std::size_t layers = training.shape.layers.size(), experts = training.shape.experts;
  return signature::fit_predictor({.prefill = {layers, experts, training.prefill_counts},
                                   .decode = {layers, experts, decode},
                                   .prefill_tokens = prefill_tokens,
                                   .decode_tokens = decode_tokens},
                                  {}, pool);
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
