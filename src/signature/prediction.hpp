// From what a prefill activated to the probability that a decode token activates each expert: the
// request's own frequencies, mixed with what recorded requests with such a prefill did. Short prompts lean on
// the latter, long ones on themselves; how far, every layer learns from recorded requests.
//
//   p = w own + (1 - w) q,   w = trust n / (n + strength),   q = mean + sum over o of s_o effect_o,
//   s_o = sum over a of exp(-|z - z_a| / reach) weight_ao,   z_d = read_d . sqrt(own + kRootShift) - offset_d
//
// n: prefill tokens counted; own: counts / n. q is a kernel ridge regression of decode frequencies (Saunders,
// Gammerman, Vovk 1998) with a Laplacian kernel between the recorded requests a and this one. They are
// compared where a linear ridge regression looks (Hoerl, Kennard 1970): in the directions of prefills that
// tell most of decodes (reduced-rank regression: Izenman 1975). What is foretold is cut to its leading
// directions too. With strength s and trust 1, p is the posterior mean of a Dirichlet prior worth s tokens
// (Gelman et al., Bayesian Data Analysis, 3.4). Square roots bring the noise of large and small counts to one
// size (Anscombe 1948).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/model_shape.hpp"
#include "core/result.hpp"
#include "core/thread_pool.hpp"
#include "signature/counts.hpp"

namespace moesaic::signature {

/// Bounds on D, A and O below.
inline constexpr std::size_t kMaxReads = 64, kMaxAnchors = 512, kMaxEffects = 96;
inline constexpr float kRootShift = 0.01f;

struct Predictor {
  std::size_t layers = 0;           ///< layer rows
  std::size_t experts = 0;          ///< a layer
  std::vector<float> mean;          ///< [L, E] of a request about which nothing is known
  std::vector<float> trust;         ///< [L] in [0, 1]
  std::vector<float> strength;      ///< [L] > 0, in tokens
  std::vector<std::uint32_t> rows;  ///< layer rows that are read, ascending; empty: nothing is, D = A = O = 0
  std::vector<float> read;          ///< [D, rows, E]
  std::vector<float> offset;        ///< [D]
  float reach = 1;                  ///< > 0
  std::vector<float> anchors;       ///< [D, A]: z of recorded requests
  std::vector<float> weight;        ///< [A, O]
  std::vector<float> effect;        ///< [O, L, E]

  std::size_t width() const { return layers * experts; }
  std::size_t reads() const { return offset.size(); }                                         ///< D
  std::size_t anchor_count() const { return offset.empty() ? 0 : anchors.size() / reads(); }  ///< A
  std::size_t effects() const { return width() == 0 ? 0 : effect.size() / width(); }          ///< O
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
  std::vector<float> features_, position_, squares_, similar_, scores_;
  std::vector<std::int32_t> none_;  ///< zeros, as many as anchors
};

/// out [L, E]: probabilities in [0, 1]. `counts` [L, E] over `tokens` tokens; tokens 0 gives the mean.
/// Deterministic. O(D rows E + A (D + O) + O L E), no allocation.
/// REQUIRES: a valid predictor, `scratch` made for it, counts.size() == out.size() == width().
void predict(const Predictor& predictor, std::span<const float> counts, std::size_t tokens,
             std::span<float> out, PredictionScratch& scratch);

/// Recorded requests: what prefill and decode activated.
struct PredictionData {
  CountsView prefill, decode;                                    ///< the same requests, layers and experts
  std::span<const std::uint32_t> prefill_tokens, decode_tokens;  ///< [requests]
};

struct PredictorOptions {
  std::size_t reads = kMaxReads, effects = kMaxEffects;  ///< at most those, and one in four requests
  /// What a prediction may read and add: bounds on D x rows x E (for large models D stays 24 and fewer layers
  /// are read) and on O x L x E, so that it takes about 20 us on one core however large the model is.
  std::size_t read_cells = 49'152, effect_cells = 73'728;
  std::size_t max_requests = kMaxAnchors;  ///< learnt from, evenly spaced in the data; at most kMaxAnchors
  std::uint64_t seed = 0;
};

/// Ridge strength, trust and strength of each layer are chosen from grids by the squared error of quarters
/// of the requests under a fit to the others (which know no more of them than the mean of all). Deterministic
/// at any thread count. REQUIRES: data of the stated sizes, at least one request with decode tokens. With n
/// requests learnt from: O(n^2 L E + n^3 + n L E grid).
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
