// From what a prefill activated to the probability that a decode token activates each expert: the
// request's own frequencies, mixed with those of the prototypes it resembles. Short prompts lean on the
// prototypes, long ones on themselves; how far, every layer learns from recorded requests.
//
//   p = w own + (1 - w) q,   w = trust n / (n + strength),   q = sum over near prototypes of weight x decode
//
// n: prefill tokens counted; own: counts / n. With strength s and trust 1 this is the posterior mean of a
// Dirichlet prior worth s tokens (Gelman et al., Bayesian Data Analysis, 3.4).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/model_shape.hpp"
#include "core/result.hpp"
#include "core/thread_pool.hpp"
#include "signature/counts.hpp"
#include "signature/transform.hpp"

namespace moesaic::signature {

inline constexpr std::size_t kMaxPrototypes = 64;
/// Prototypes that one prediction mixes.
inline constexpr std::size_t kNearPrototypes = 4;

struct Predictor {
  std::size_t layers = 0;         ///< layer rows
  std::size_t experts = 0;        ///< a layer
  std::vector<float> mean;        ///< [L, E] of a request about which nothing is known
  std::vector<float> trust;       ///< [L] in [0, 1]
  std::vector<float> strength;    ///< [L] > 0, in tokens
  Space match;                    ///< where requests are compared to prototypes; no layers: no prototypes
  std::vector<float> prototypes;  ///< [P, match.width()], unit rows
  std::vector<float> decode;      ///< [P, L, E]

  std::size_t width() const { return layers * experts; }
  std::size_t count() const { return width() == 0 ? 0 : decode.size() / width(); }
  bool operator==(const Predictor&) const = default;
};

/// Knows nothing: every expert alike, own frequencies against a prior of `strength` tokens.
Predictor uniform_predictor(const ModelShape& shape, float strength = 16);

/// Sizes that fit, values that are finite, probabilities in [0, 1]. Errors (bad input) say which is not.
Status validate(const Predictor& predictor);

/// Working memory of predict(), so that it allocates nothing.
class PredictionScratch {
 public:
  explicit PredictionScratch(const Predictor& predictor);

 private:
  friend void predict(const Predictor&, std::span<const float>, std::size_t, std::span<float>,
                      PredictionScratch&);
  std::vector<float> signature_, cosines_;
};

/// out [L, E]: probabilities in [0, 1]. `counts` [L, E] over `tokens` tokens; tokens 0 gives the mean.
/// Deterministic. O(P match.width() + kNearPrototypes L E), no allocation.
/// REQUIRES: a valid predictor, `scratch` made for it, counts.size() == out.size() == width().
void predict(const Predictor& predictor, std::span<const float> counts, std::size_t tokens,
             std::span<float> out, PredictionScratch& scratch);

/// Recorded requests: what prefill and decode activated.
struct PredictionData {
  CountsView prefill, decode;                                    ///< the same requests, layers and experts
  std::span<const std::uint32_t> prefill_tokens, decode_tokens;  ///< [requests]
};

struct PredictorOptions {
  std::size_t prototypes = 16;   ///< at most kMaxPrototypes, and one in four requests
  std::size_t match_layers = 8;  ///< layers that requests are compared on: those that tell prototypes apart
  std::uint64_t seed = 0;
};

/// Clusters the prefills (spherical K-means), averages each cluster's decodes, and lets every layer choose
/// trust and strength from a grid by the log loss of one half of the requests under prototypes of the
/// other half. Deterministic at any thread count. REQUIRES: data of the stated sizes, at least one request
/// with decode tokens. O(requests L E x (grid + iterations prototypes / match share)).
Predictor fit_predictor(const PredictionData& data, const PredictorOptions& options, ThreadPool& pool);

/// How good predictions are, over all (request, layer, expert) cells with decode tokens.
struct PredictionScore {
  static constexpr std::size_t kBins = 10;
  double log_loss = 0;     ///< nats a (token, expert) cell
  double brier = 0;        ///< mean squared error against the decode frequency
  double correlation = 0;  ///< Pearson, predicted against decode frequency
  /// Bin i holds predictions in [i/10, (i+1)/10): their mean, the frequency that came, and the share of
  /// cells.
  struct Bin {
    double predicted = 0, observed = 0, share = 0;
  };
  Bin bins[kBins];
};
PredictionScore score_predictor(const Predictor& predictor, const PredictionData& data);

}  // namespace moesaic::signature
