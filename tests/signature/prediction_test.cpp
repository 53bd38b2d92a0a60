#include "signature/prediction.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/random.hpp"

namespace moesaic::signature {
namespace {

/// Requests of two kinds: kind 0 uses experts 0..3 of each layer, kind 1 experts 4..7, with some noise.
struct Recorded {
  std::size_t layers = 3, experts = 8;
  std::vector<float> prefill, decode;
  std::vector<std::uint32_t> prefill_tokens, decode_tokens;

  PredictionData data() const {
    return {{layers, experts, prefill}, {layers, experts, decode}, prefill_tokens, decode_tokens};
  }
};

Recorded record(std::size_t requests, std::uint32_t prefill_tokens, std::uint64_t seed) {
  Recorded out;
  Pcg32 random(seed);
  const auto draw = [&](std::size_t kind, std::uint32_t tokens, std::vector<float>& to) {
    const std::size_t start = to.size();
    to.resize(start + out.layers * out.experts);
    for (std::size_t layer = 0; layer < out.layers; ++layer) {
      for (std::uint32_t token = 0; token < tokens; ++token) {
        const bool stray = random.below(10) == 0;
        const std::size_t expert = (stray ? 1 - kind : kind) * 4 + random.below(4);
        to[start + layer * out.experts + expert] += 1;
      }
    }
  };
  for (std::size_t r = 0; r < requests; ++r) {
    draw(r % 2, prefill_tokens, out.prefill);
    draw(r % 2, 40, out.decode);
    out.prefill_tokens.push_back(prefill_tokens);
    out.decode_tokens.push_back(40);
  }
  return out;
}

std::vector<float> predicted(const Predictor& predictor, std::span<const float> counts, std::size_t tokens) {
  std::vector<float> out(predictor.width());
  PredictionScratch scratch(predictor);
  predict(predictor, counts, tokens, out, scratch);
  return out;
}

TEST(Prediction, WithoutTrainingOwnFrequenciesMeetAUniformPrior) {
  const ModelShape shape{"m", 2, {LayerId{0}, LayerId{1}}, 4, 2};
  const Predictor predictor = uniform_predictor(shape, 16);
  ASSERT_TRUE(validate(predictor));
  std::vector<float> counts = {16, 16, 0, 0, 8, 8, 8, 8};
  const auto p = predicted(predictor, counts, 16);
  EXPECT_FLOAT_EQ(p[0], 0.75f);  // half of 1 and half of the prior's 0.5
  EXPECT_FLOAT_EQ(p[2], 0.25f);
  EXPECT_FLOAT_EQ(p[4], 0.5f);
  for (const float unknown : predicted(predictor, counts, 0)) EXPECT_FLOAT_EQ(unknown, 0.5f);
}

TEST(Prediction, ProbabilitiesOfALayerSumToTopK) {
  ThreadPool pool(1);
  const Recorded recorded = record(40, 20, 1);
  const Predictor predictor =
      fit_predictor(recorded.data(), {.reads = 2, .effects = 2, .read_cells = 32}, pool);
  ASSERT_TRUE(validate(predictor)) << validate(predictor).error().message;
  EXPECT_EQ(predictor.reads(), 2u);
  EXPECT_EQ(predictor.effects(), 2u);
  EXPECT_EQ(predictor.anchor_count(), 40u);
  EXPECT_EQ(predictor.rows.size(), 2u);
  const auto p = predicted(predictor, recorded.data().prefill.request(3), 20);
  for (std::size_t layer = 0; layer < 3; ++layer) {
    EXPECT_NEAR(std::accumulate(p.begin() + static_cast<long>(layer) * 8,
                                p.begin() + static_cast<long>(layer + 1) * 8, 0.0f),
                1, 1e-4);
  }
}

TEST(Prediction, OthersTellWhatAShortPrefillCannot) {
  ThreadPool pool(1);
  const Recorded past = record(80, 3, 1), future = record(40, 3, 2);
  const Predictor fitted = fit_predictor(past.data(), {.reads = 2, .effects = 2}, pool);
  const ModelShape shape{"m", 3, {LayerId{0}, LayerId{1}, LayerId{2}}, 8, 1};
  const PredictionScore with = score_predictor(fitted, future.data());
  const PredictionScore without = score_predictor(uniform_predictor(shape), future.data());
  Predictor mean = uniform_predictor(shape);  // no trust: everybody is average
  mean.mean = fitted.mean;
  std::ranges::fill(mean.trust, 0.0f);
  const PredictionScore average = score_predictor(mean, future.data());
  EXPECT_LT(with.log_loss, without.log_loss);
  EXPECT_LT(with.log_loss, average.log_loss);
  EXPECT_LT(with.brier, without.brier);
  EXPECT_GT(with.correlation, without.correlation);
}

TEST(Prediction, WhatTheKernelSaysIsWhatTheFormulaSays) {
  // One layer of 2 experts, read along (1, 0); two recorded requests at z = 0 and 0.6.
  Predictor predictor = uniform_predictor({"m", 1, {LayerId{0}}, 2, 1});
  predictor.trust = {0};
  predictor.rows = {0};
  predictor.read = {1, 0};
  predictor.offset = {0.1f};
  predictor.reach = 0.5f;
  predictor.anchors = {0, 0.6f};
  predictor.weight = {0.2f, -0.1f};
  predictor.effect = {1, -1};
  ASSERT_TRUE(validate(predictor)) << validate(predictor).error().message;
  for (const float count : {0.0f, 3.0f, 8.0f}) {
    const double z = std::sqrt(static_cast<double>(count) / 8 + 0.01) - 0.1;
    const double by = 0.2 * std::exp(-std::abs(z) / 0.5) - 0.1 * std::exp(-std::abs(z - 0.6) / 0.5);
    const auto p = predicted(predictor, std::vector<float>{count, 8 - count}, 8);
    EXPECT_NEAR(p[0], 0.5 + by, 1e-3) << count;
    EXPECT_NEAR(p[1], 0.5 - by, 1e-3) << count;
  }
}

TEST(Prediction, WhatIsNotLinearIsForetoldToo) {
  // Prefills share out between experts 0 and 1; decodes use expert 2 when one of them has nearly all, else
  // expert 3: a linear regression sees nothing.
  ThreadPool pool(1);
  const auto recorded = [](std::size_t requests, std::uint64_t seed) {
    Recorded out;
    out.layers = 1;
    out.experts = 4;
    Pcg32 random(seed);
    for (std::size_t r = 0; r < requests; ++r) {
      const auto first = static_cast<float>(random.below(101));
      const bool extreme = std::abs(first - 50) > 25;
      out.prefill.insert(out.prefill.end(), {first, 100 - first, 0, 0});
      out.decode.insert(out.decode.end(), {0, 0, extreme ? 50.0f : 0, extreme ? 0 : 50.0f});
      out.prefill_tokens.push_back(100);
      out.decode_tokens.push_back(50);
    }
    return out;
  };
  const Recorded past = recorded(200, 1), future = recorded(100, 2);
  const PredictionScore score = score_predictor(fit_predictor(past.data(), {}, pool), future.data());
  EXPECT_GT(score.correlation, 0.9);
  EXPECT_LT(score.brier, 0.03);  // 0.125 for the mean request
}

TEST(Prediction, WherePrefillsTellNothingTheMeanIsForetold) {
  ThreadPool pool(1);
  const auto unrelated = [](std::size_t requests, std::uint64_t seed) {
    Recorded out = record(requests, 20, seed), other = record(requests + 1, 20, seed + 100);
    // Decodes of somebody else: kinds alternate, so that every other request gets one of the wrong kind.
    Pcg32 random(seed);
    const std::size_t width = out.layers * out.experts;
    for (std::size_t r = 0; r < requests; ++r) {
      const std::size_t from = r + random.below(2);
      std::copy_n(other.decode.begin() + static_cast<std::ptrdiff_t>(from * width), width,
                  out.decode.begin() + static_cast<std::ptrdiff_t>(r * width));
    }
    return out;
  };
  const Recorded past = unrelated(200, 1), future = unrelated(200, 2);
  const Predictor fitted = fit_predictor(past.data(), {}, pool);
  Predictor mean = uniform_predictor({"m", 3, {LayerId{0}, LayerId{1}, LayerId{2}}, 8, 1});
  mean.mean = fitted.mean;
  std::ranges::fill(mean.trust, 0.0f);
  EXPECT_LT(score_predictor(fitted, future.data()).brier, 1.03 * score_predictor(mean, future.data()).brier);
}

TEST(Prediction, LongPrefillsAreTrusted) {
  ThreadPool pool(1);
  // Without anchors both kinds are average; with 400 tokens each request knows better itself.
  const Predictor fitted = fit_predictor(record(60, 400, 5).data(), {.reads = 0}, pool);
  EXPECT_EQ(fitted.anchor_count(), 0u);
  for (std::size_t layer = 0; layer < 3; ++layer) EXPECT_GE(fitted.trust[layer], 0.75f);
}

TEST(Prediction, ScoresOfAPerfectPredictionAreThoseOfTheData) {
  // Decode is exactly half of the time expert 0, half expert 1, and the prediction says so.
  Predictor predictor = uniform_predictor({"m", 1, {LayerId{0}}, 4, 1});
  predictor.mean = {0.5f, 0.5f, 0, 0};
  const std::vector<float> prefill(4), decode = {5, 5, 0, 0};
  const std::vector<std::uint32_t> none = {0}, ten = {10};
  const PredictionScore score = score_predictor(predictor, {{1, 4, prefill}, {1, 4, decode}, none, ten});
  EXPECT_NEAR(score.log_loss, std::log(2) / 2, 1e-3);  // two cells of ln 2, two of nearly 0
  EXPECT_EQ(score.brier, 0);
  EXPECT_NEAR(score.correlation, 1, 1e-12);
  EXPECT_EQ(score.bins[5].share, 0.5);
  EXPECT_EQ(score.bins[5].predicted, 0.5);
  EXPECT_EQ(score.bins[5].observed, 0.5);
  EXPECT_EQ(score.bins[0].observed, 0);
}

TEST(Prediction, TheFitIsTheSameOnAnyNumberOfThreads) {
  const Recorded recorded = record(50, 10, 9);
  ThreadPool one(1), three(3);
  const PredictorOptions options{.reads = 4, .effects = 3, .read_cells = 32, .seed = 2};
  EXPECT_EQ(fit_predictor(recorded.data(), options, one), fit_predictor(recorded.data(), options, three));
}

TEST(Prediction, CountsThatLieStayProbabilities) {
  const Predictor predictor = uniform_predictor({"m", 1, {LayerId{0}}, 2, 1});
  for (const float p : predicted(predictor, std::vector<float>{1e9f, 0}, 1)) {
    EXPECT_GE(p, 0);
    EXPECT_LE(p, 1);
  }
}

TEST(Prediction, WhatDoesNotFitIsRefused) {
  const auto refused = [](auto change, const char* part) {
    Predictor predictor = uniform_predictor({"m", 2, {LayerId{0}, LayerId{1}}, 4, 2});
    predictor.rows = {1};
    predictor.read = {1, 0, 0, -1};
    predictor.offset = {0.5f};
    predictor.anchors = {0.5f, -0.5f, 1};
    predictor.weight = {1, 0, 1};
    predictor.effect.assign(8, -0.5f);
    EXPECT_TRUE(validate(predictor));
    change(predictor);
    const Status status = validate(predictor);
    ASSERT_FALSE(status) << part;
    EXPECT_EQ(status.error().kind, ErrorKind::kBadInput);
    EXPECT_NE(status.error().message.find(part), std::string::npos) << status.error().message;
  };
  refused([](Predictor& p) { p.mean.pop_back(); }, "7 means");
  refused([](Predictor& p) { p.trust.clear(); }, "0 trusts");
  refused([](Predictor& p) { p.layers = 0; }, "expected 0 layers");
  refused([](Predictor& p) { p.effect.pop_back(); }, "do not fit");
  refused([](Predictor& p) { p.read.pop_back(); }, "do not fit");
  refused([](Predictor& p) { p.offset.clear(); }, "do not fit");
  refused([](Predictor& p) { p.rows[0] = 2; }, "do not fit");
  refused([](Predictor& p) { p.anchors.pop_back(); }, "do not fit");
  refused([](Predictor& p) { p.weight.push_back(0); }, "do not fit");
  refused([](Predictor& p) { p.effect.clear(); }, "do not fit");
  refused([](Predictor& p) { p.mean[0] = NAN; }, "outside 0 to 1");
  refused([](Predictor& p) { p.trust[0] = 1.5f; }, "outside 0 to 1");
  refused([](Predictor& p) { p.strength[0] = 0; }, "strength");
  refused([](Predictor& p) { p.read[0] = INFINITY; }, "not finite");
  refused([](Predictor& p) { p.offset[0] = NAN; }, "not finite");
  refused([](Predictor& p) { p.effect[3] = -2e6f; }, "not finite");
  refused([](Predictor& p) { p.anchors[1] = NAN; }, "not finite");
  refused([](Predictor& p) { p.weight[1] = INFINITY; }, "not finite");
  refused([](Predictor& p) { p.reach = 0; }, "reach");
}

}  // namespace
}  // namespace moesaic::signature
