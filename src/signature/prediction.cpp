#include "signature/prediction.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/check.hpp"
#include "signature/dot.hpp"

namespace moesaic::signature {
namespace {

bool all_within(std::span<const float> values, float low, float high) {
  return std::ranges::all_of(values, [&](float value) { return value >= low && value <= high; });
}

}  // namespace

Predictor uniform_predictor(const ModelShape& shape, float strength) {
  Predictor out;
  out.layers = shape.layers.size();
  out.experts = shape.experts;
  out.mean.assign(out.width(), static_cast<float>(shape.top_k) / static_cast<float>(shape.experts));
  out.trust.assign(out.layers, 1);
  out.strength.assign(out.layers, strength);
  return out;
}

Status validate(const Predictor& predictor) {
  const std::size_t width = predictor.width();
  if (width == 0 || predictor.mean.size() != width || predictor.trust.size() != predictor.layers ||
      predictor.strength.size() != predictor.layers) {
    return bad_input(
        fmt::format("predictor: {} means, {} trusts and {} strengths, expected {} layers x {} experts",
                    predictor.mean.size(), predictor.trust.size(), predictor.strength.size(),
                    predictor.layers, predictor.experts));
  }
  const std::size_t reads = predictor.reads(), anchors = predictor.anchor_count(),
                    effects = predictor.effects();
  const bool nothing = reads == 0;
  const bool fits =
      reads <= kMaxReads && anchors <= kMaxAnchors && effects <= kMaxEffects &&
      predictor.rows.empty() == nothing && (anchors == 0) == nothing && (effects == 0) == nothing &&
      predictor.read.size() == reads * predictor.rows.size() * predictor.experts &&
      predictor.anchors.size() == reads * anchors && predictor.weight.size() == anchors * effects &&
      predictor.effect.size() == effects * width &&
      std::ranges::all_of(predictor.rows, [&](auto row) { return row < predictor.layers; });
  if (!fits) {
    return bad_input(fmt::format(
        "predictor: {} reads, {} anchors, {} effects do not fit {} layers x {} experts "
        "(at most {}, {} and {})",
        reads, anchors, effects, predictor.layers, predictor.experts, kMaxReads, kMaxAnchors, kMaxEffects));
  }
  if (!all_within(predictor.mean, 0, 1) || !all_within(predictor.trust, 0, 1)) {
    return bad_input("predictor: a probability or trust is outside 0 to 1");
  }
  if (!all_within(predictor.strength, 1e-6f, 1e9f)) return bad_input("predictor: a strength is not positive");
  if (!all_within({&predictor.reach, 1}, 1e-6f, 1e6f))
    return bad_input("predictor: its reach is not positive");
  constexpr float kLargest = 1e6f;
  for (const auto* values :
       {&predictor.read, &predictor.offset, &predictor.anchors, &predictor.weight, &predictor.effect}) {
    if (!all_within(*values, -kLargest, kLargest))
      return bad_input("predictor: what it reads or adds is not finite, or beyond a million");
  }
  return {};
}

PredictionScratch::PredictionScratch(const Predictor& predictor)
    : features_(predictor.rows.size() * predictor.experts),
      position_(predictor.reads()),
      squares_(predictor.anchor_count()),
      similar_(predictor.anchor_count()),
      scores_(predictor.effects()),
      none_(predictor.anchor_count()) {
  for (std::size_t d = 0; d < predictor.reads(); ++d) {
    for (std::size_t a = 0; a < squares_.size(); ++a) {
      const float at = predictor.anchors[d * squares_.size() + a];
      squares_[a] += at * at;
    }
  }
}

void predict(const Predictor& predictor, std::span<const float> counts, std::size_t tokens,
             std::span<float> out, PredictionScratch& scratch) {
  const std::size_t width = predictor.width(), experts = predictor.experts;
  MOESAIC_CHECK(counts.size() == width && out.size() == width);
  MOESAIC_CHECK(scratch.features_.size() == predictor.rows.size() * experts);
  std::ranges::copy(predictor.mean, out.begin());
  if (tokens == 0) return;
  const auto n = static_cast<float>(tokens);
  if (predictor.reads() > 0) {
    const std::span<float> features = scratch.features_;
    for (std::size_t row = 0; row < predictor.rows.size(); ++row) {
      roots(features.subspan(row * experts, experts), counts.subspan(predictor.rows[row] * experts, experts),
            1 / n, kRootShift);
    }
    // |z - z_a|^2 = |z_a|^2 - 2 z . z_a + |z|^2
    float square = 0;
    for (std::size_t d = 0; d < predictor.reads(); ++d) {
      const auto read = std::span(predictor.read).subspan(d * features.size(), features.size());
      const float z = dot(features, read) - predictor.offset[d];
      square += z * z;
      scratch.position_[d] = -2 * z;
    }
    std::ranges::copy(scratch.squares_, scratch.similar_.begin());
    add_rows(scratch.similar_, predictor.anchors, scratch.position_);
    const float scale = 1 / (predictor.reach * predictor.reach);
    roots(scratch.similar_, scratch.similar_, scale, square * scale);
    decay(scratch.similar_, scratch.none_, 0, scratch.similar_, 1);
    std::ranges::fill(scratch.scores_, 0.0f);
    add_rows(scratch.scores_, predictor.weight, scratch.similar_);
    add_rows(out, predictor.effect, scratch.scores_);
  }
  for (std::size_t layer = 0; layer < predictor.layers; ++layer) {
    // Counts can exceed tokens only when the source lies; blend() keeps a probability one.
    const float own = predictor.trust[layer] * n / (n + predictor.strength[layer]);
    blend(out.subspan(layer * experts, experts), counts.data() + layer * experts, own / n, 1 - own);
  }
}

PredictionScore score_predictor(const Predictor& predictor, const PredictionData& data) {
  PredictionScore score;
  PredictionScratch scratch(predictor);
  std::vector<float> predicted(predictor.width());
  double cells = 0, sum_p = 0, sum_o = 0, sum_pp = 0, sum_oo = 0, sum_po = 0;
  for (std::size_t r = 0; r < data.decode.requests(); ++r) {
    if (data.decode_tokens[r] == 0) continue;
    predict(predictor, data.prefill.request(r), data.prefill_tokens[r], predicted, scratch);
    const std::span<const float> counts = data.decode.request(r);
    for (std::size_t cell = 0; cell < predicted.size(); ++cell) {
      const double p = predicted[cell], o = static_cast<double>(counts[cell]) / data.decode_tokens[r];
      const double safe = std::clamp(p, 1e-4, 1 - 1e-4);
      score.log_loss -= o * std::log(safe) + (1 - o) * std::log(1 - safe);
      score.brier += (p - o) * (p - o);
      cells += 1, sum_p += p, sum_o += o, sum_pp += p * p, sum_oo += o * o, sum_po += p * o;
      auto& bin = score.bins[std::min(PredictionScore::kBins - 1,
                                      static_cast<std::size_t>(p * PredictionScore::kBins))];
      bin.predicted += p, bin.observed += o, bin.share += 1;
    }
  }
  if (cells == 0) return score;
  score.log_loss /= cells;
  score.brier /= cells;
  const double spread = (sum_pp - sum_p * sum_p / cells) * (sum_oo - sum_o * sum_o / cells);
  score.correlation = spread > 0 ? (sum_po - sum_p * sum_o / cells) / std::sqrt(spread) : 0;
  for (auto& bin : score.bins) {
    if (bin.share > 0) bin.predicted /= bin.share, bin.observed /= bin.share;
    bin.share /= cells;
  }
  return score;
}

}  // namespace moesaic::signature
