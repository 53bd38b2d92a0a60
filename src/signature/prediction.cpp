#include "signature/prediction.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "core/check.hpp"
#include "signature/dot.hpp"

namespace moesaic::signature {
namespace {

static_assert(kNearPrototypes == kMixedRows);

/// Weight of a prototype falls by e when its cosine is this much below the best one's.
constexpr float kSoftness = 0.05f;

bool all_within(std::span<const float> values, float low, float high) {
  return std::ranges::all_of(values, [&](float value) { return value >= low && value <= high; });
}

struct Near {
  std::array<std::uint32_t, kNearPrototypes> prototype{};
  std::array<float, kNearPrototypes> weight{};
  std::size_t count = 0;
};

/// The nearest prototypes, ties to the lower index, with weights that sum to 1.
Near nearest(std::span<const float> cosines) {
  Near near;
  for (std::uint32_t p = 0; p < cosines.size(); ++p) {
    std::size_t at = near.count < kNearPrototypes ? near.count : kNearPrototypes;
    while (at > 0 && cosines[p] > cosines[near.prototype[at - 1]]) --at;
    if (at == kNearPrototypes) continue;
    near.count = std::min(near.count + 1, kNearPrototypes);
    for (std::size_t i = near.count - 1; i > at; --i) near.prototype[i] = near.prototype[i - 1];
    near.prototype[at] = p;
  }
  float sum = 0;
  for (std::size_t i = 0; i < near.count; ++i) {
    near.weight[i] = std::exp((cosines[near.prototype[i]] - cosines[near.prototype[0]]) / kSoftness);
    sum += near.weight[i];
  }
  for (std::size_t i = 0; i < near.count; ++i) near.weight[i] /= sum;
  return near;
}

}  // namespace

Predictor uniform_predictor(const ModelShape& shape, float strength) {
  Predictor out;
  out.layers = shape.layers.size();
  out.experts = shape.experts;
  out.mean.assign(out.width(), static_cast<float>(shape.top_k) / static_cast<float>(shape.experts));
  out.trust.assign(out.layers, 1);
  out.strength.assign(out.layers, strength);
  out.match.experts = shape.experts;
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
  const std::size_t count = predictor.count();
  const bool fits =
      count <= kMaxPrototypes && predictor.decode.size() == count * width &&
      predictor.prototypes.size() == count * predictor.match.width() &&
      predictor.match.rows.size() == predictor.match.layers.size() &&
      (count == 0) == predictor.match.rows.empty() && predictor.match.experts == predictor.experts &&
      std::ranges::all_of(predictor.match.rows, [&](auto row) { return row < predictor.layers; });
  if (!fits) {
    return bad_input(fmt::format("predictor: prototypes do not fit {} layers x {} experts (at most {})",
                                 predictor.layers, predictor.experts, kMaxPrototypes));
  }
  if (!all_within(predictor.mean, 0, 1) || !all_within(predictor.decode, 0, 1) ||
      !all_within(predictor.trust, 0, 1)) {
    return bad_input("predictor: a probability or trust is outside 0 to 1");
  }
  if (!all_within(predictor.strength, 1e-6f, 1e9f) || !all_within(predictor.prototypes, -1.001f, 1.001f)) {
    return bad_input("predictor: a strength is not positive or a prototype is not of unit length");
  }
  return {};
}

PredictionScratch::PredictionScratch(const Predictor& predictor)
    : signature_(predictor.match.width()), cosines_(predictor.count()) {}

void predict(const Predictor& predictor, std::span<const float> counts, std::size_t tokens,
             std::span<float> out, PredictionScratch& scratch) {
  MOESAIC_CHECK(counts.size() == predictor.width() && out.size() == predictor.width());
  MOESAIC_CHECK(scratch.cosines_.size() == predictor.count());
  if (tokens == 0) {
    std::ranges::copy(predictor.mean, out.begin());
    return;
  }
  std::array<const float*, kMixedRows> rows;
  std::array<float, kMixedRows> weights{};
  rows.fill(predictor.mean.data());
  if (predictor.count() == 0) {
    weights[0] = 1;
  } else {
    signature(predictor.match, counts, scratch.signature_);
    const std::size_t width = predictor.match.width();
    for (std::size_t p = 0; p < scratch.cosines_.size(); ++p) {
      scratch.cosines_[p] =
          dot(scratch.signature_, std::span(predictor.prototypes).subspan(p * width, width));
    }
    const Near near = nearest(scratch.cosines_);
    for (std::size_t i = 0; i < near.count; ++i) {
      rows[i] = predictor.decode.data() + near.prototype[i] * predictor.width();
      weights[i] = near.weight[i];
    }
  }
  const auto n = static_cast<float>(tokens);
  for (std::size_t layer = 0; layer < predictor.layers; ++layer) {
    // Counts can exceed tokens only when the source lies; mix() keeps a probability one.
    const float own = predictor.trust[layer] * n / (n + predictor.strength[layer]);
    const std::size_t begin = layer * predictor.experts;
    mix(out.subspan(begin, predictor.experts), counts.data() + begin, own / n, rows, weights, 1 - own);
    for (const float*& row : rows) row += predictor.experts;
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
