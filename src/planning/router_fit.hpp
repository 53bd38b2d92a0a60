// From a trace to the router that the gateway loads: one balanced cluster of prefill signatures a decoder,
// and how well signatures foretell decodes on requests that were not fitted (ELDR, arXiv:2607.00466, section
// 4).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "artifact/prompts.hpp"
#include "artifact/router.hpp"
#include "core/result.hpp"
#include "core/selection.hpp"
#include "core/thread_pool.hpp"
#include "signature/transform.hpp"
#include "trace/trace.hpp"

namespace moesaic::planning {

enum class LayerRule {
  kAll,
  kBest,   ///< the greedy choice up to its highest rho
  kFirst,  ///< the first `layers` of the greedy choice
};

struct RouterFitOptions {
  std::size_t decoders = 1;
  signature::Transform transform = signature::Transform::kCountIdf;
  LayerRule layer_rule = LayerRule::kAll;
  std::size_t layers = 0;                     ///< of kFirst
  RequestSet fitted_on = RequestSet::kTrain;  ///< kAll: everything is fitted on *and* scored (in sample)
  Phase phase = Phase::kDecode;               ///< what signatures are to foretell
  PredictFrom from = {};
  std::uint64_t seed = 0;      ///< of the split, the pairs and k-means++
  std::size_t pairs = 30'000;  ///< random pairs that rho is taken over
  std::size_t starts = 8;      ///< of k-means++
  /// By request id; requests without one take no part in the prompt model. nullptr: no prompt model. The
  /// texts live during the call.
  const artifact::PromptTexts* prompts = nullptr;
};

/// One transform, layers chosen on fitted requests; figures are of the scored ones.
struct TransformScore {
  signature::Transform transform = signature::Transform::kCount;
  double rho_all = 0;                ///< Spearman's rho, all layers
  std::vector<LayerId> greedy{};     ///< layers of the greedy choice (kFirst: its first ones)
  double rho_greedy = 0;             ///< with these alone
  std::optional<double> accuracy{};  ///< requests whose domain all layers tell; none without two domains
};

struct ClusterScore {
  std::vector<std::uint64_t> fitted{};  ///< requests a decoder, as clustered: at most ceil(N / K)
  std::vector<std::uint64_t> scored{};  ///< ... of those scored, each to its nearest prototype
  double scored_max_over_mean = 0;
  double cosine = 0;  ///< of a scored request to its nearest prototype, mean
};

/// How well the decoder that a request's *decode* belongs to is told before it: from its prompt's text, from
/// its prefill, and by always naming the one most fitted requests belong to.
struct PromptScore {
  std::size_t fitted = 0, scored = 0;  ///< requests with a text
  double accuracy = 0, prefill_accuracy = 0, chance = 0;
  /// Mean cosine of a scored decode to the prototype that was named; `best`: to its own nearest.
  double cosine = 0, prefill_cosine = 0, chance_cosine = 0, best_cosine = 0;
};

struct RouterFit {
  artifact::Router router{};                 ///< its score holds all of the below
  std::vector<TransformScore> transforms{};  ///< every one; gate_probability where there are router weights
  ClusterScore clusters{};
  std::optional<PromptScore> prompts{};
  std::size_t fitted = 0, scored = 0;  ///< requests
};

/// Requests without tokens to predict from or to foretell take no part. Deterministic at any thread count.
/// Errors (bad input): a store of counts; gate_probability of a trace without router weights, or with
/// prompts; kFirst beyond the model's layers; fewer fitted requests than decoders; fewer than 2 fitted or
/// scored; prompts of fewer than 2 fitted or scored requests. Cost: choose_layers() a transform, and the
/// K-means.
Result<RouterFit> fit_router(const trace::Trace& trace, const RouterFitOptions& options, ThreadPool& pool);

}  // namespace moesaic::planning
