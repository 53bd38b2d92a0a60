#include "signature/layer_choice.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/random.hpp"

namespace moesaic::signature {
namespace {

/// Rank by counting, correlation by its definition.
double spearman_by_definition(const std::vector<float>& a, const std::vector<float>& b) {
  const auto ranks = [](const std::vector<float>& values) {
    std::vector<double> out;
    for (const float v : values) {
      out.push_back(static_cast<double>(std::ranges::count_if(values, [&](float w) { return w < v; })) +
                    (static_cast<double>(std::ranges::count(values, v)) - 1) / 2);
    }
    return out;
  };
  const auto x = ranks(a), y = ranks(b);
  const double mean = std::accumulate(x.begin(), x.end(), 0.0) / static_cast<double>(x.size());
  double xy = 0, xx = 0, yy = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    xy += (x[i] - mean) * (y[i] - mean);
    xx += (x[i] - mean) * (x[i] - mean);
    yy += (y[i] - mean) * (y[i] - mean);
  }
  return xx == 0 || yy == 0 ? 0 : xy / std::sqrt(xx * yy);
}

RC_GTEST_PROP(SpearmanProperty, EqualsItsDefinitionWithTiesAndSigns,
              (std::vector<std::pair<int, int>> pairs)) {
  std::vector<float> a, b;
  for (const auto& [x, y] : pairs) {
    a.push_back(static_cast<float>(x % 7) * 0.37F);
    b.push_back(static_cast<float>(y % 1000) * -0.01F);
  }
  RC_ASSERT(std::abs(spearman(a, b) - (a.empty() ? 0 : spearman_by_definition(a, b))) < 1e-12);
}

TEST(Spearman, IsOneForAnyRisingAndMinusOneForAnyFallingRelation) {
  const std::vector<float> a{-3, -0.0F, 1, 50}, rising{0, 1, 2, 1e9F}, falling{9, 8, 7, -1e-9F};
  EXPECT_DOUBLE_EQ(spearman(a, rising), 1);
  EXPECT_DOUBLE_EQ(spearman(a, falling), -1);
  EXPECT_DOUBLE_EQ(spearman(a, std::vector<float>(4, 2.0F)), 0);
  EXPECT_DOUBLE_EQ(spearman(std::vector<float>{-0.0F, 0.0F}, std::vector<float>{1, 2}), 0);
}

/// Layers 1 and 3 of five tell a request's kind in prefill as in decode; prefill is noise on the others.
struct Sample {
  static constexpr std::size_t kLayers = 5, kExperts = 8;
  ModelShape shape{.model = "", .model_layers = kLayers, .layers = {}, .experts = kExperts, .top_k = 1};
  std::vector<float> prefill, decode;

  explicit Sample(std::size_t requests) : prefill(requests * kLayers * kExperts), decode(prefill.size()) {
    Pcg32 random(6);
    for (std::uint16_t l = 0; l < kLayers; ++l) shape.layers.push_back(LayerId(l));
    for (std::size_t r = 0; r < requests; ++r) {
      const std::uint32_t kind = random.below(4);
      for (std::size_t l = 0; l < kLayers; ++l) {
        const std::uint32_t noise = random.below(kExperts);
        for (int t = 0; t < 40; ++t) {
          const auto drawn = [&](std::uint32_t centre) {
            return (r * kLayers + l) * kExperts + (centre + random.below(2)) % kExperts;
          };
          ++decode[drawn(2 * kind)];
          ++prefill[drawn(l == 1 || l == 3 ? 2 * kind : noise)];
        }
      }
    }
  }
  CountsView view(const std::vector<float>& values) const { return {kLayers, kExperts, values}; }
};

TEST(LayerChoice, TakesTheLayersThatTellAndLeavesTheNoise) {
  const Sample sample(80);
  ThreadPool pool(2);
  const Space space = all_layers(sample.shape, Transform::kCount);
  const LayerChoiceOptions options{.pairs = 3000};
  const auto choice =
      choose_layers(space, sample.view(sample.prefill), sample.view(sample.decode), options, pool);
  EXPECT_EQ(choice.positions, (std::vector<std::uint32_t>{1, 3}));
  EXPECT_GT(choice.rho, choice.rho_all);
  ASSERT_EQ(choice.order.size(), 5u);
  EXPECT_EQ(choice.rho, choice.rho_after[1]);

  // Each figure is what a plain evaluation of those layers gives.
  EXPECT_NEAR(choice.rho_all,
              signature_rho(space, sample.view(sample.prefill), sample.view(sample.decode), options, pool),
              1e-9);
  EXPECT_NEAR(choice.rho,
              signature_rho(restricted(space, choice.positions), sample.view(sample.prefill),
                            sample.view(sample.decode), options, pool),
              1e-9);
}

TEST(LayerChoice, FirstTakesTheSingleBestLayer) {
  const Sample sample(60);
  ThreadPool pool(1);
  const Space space = all_layers(sample.shape, Transform::kSqrtCount);
  const LayerChoiceOptions options{.pairs = 1000, .seed = 3};
  const auto choice =
      choose_layers(space, sample.view(sample.prefill), sample.view(sample.decode), options, pool);
  double best = -1;
  for (std::uint32_t l = 0; l < 5; ++l) {
    best = std::max(best, signature_rho(restricted(space, std::span(&l, 1)), sample.view(sample.prefill),
                                        sample.view(sample.decode), options, pool));
  }
  EXPECT_DOUBLE_EQ(choice.rho_after[0], best);
}

}  // namespace
}  // namespace moesaic::signature
