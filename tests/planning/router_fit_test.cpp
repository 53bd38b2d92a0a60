#include "planning/router_fit.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/random.hpp"
#include "io/memory_files.hpp"
#include "signature/assigner.hpp"
#include "trace/writer.hpp"

namespace moesaic::planning {
namespace {

constexpr std::uint32_t kTokens = 24;

/// Requests (60) of two kinds, each leaning to its half of 8 experts, some more than others. On layers 0 and
/// 2 of three they lean in prefill as in decode; on layer 1 prefills lean anywhere. k = 2.
class Store {
 public:
  /// `weights`: the second choice of every row weighs nothing, a prefill's first one 0.5.
  explicit Store(std::uint32_t prefill = kTokens, std::uint32_t decode = kTokens, bool weights = false,
                 std::uint32_t requests = 60) {
    const ModelShape shape{.model = "small",
                           .model_layers = 4,
                           .layers = {LayerId{1}, LayerId{2}, LayerId{3}},
                           .experts = 8,
                           .top_k = 2};
    Pcg32 random(7);
    auto writer = trace::TokenWriter::open(files_, "/t.zarr", shape, {.weights = weights});
    EXPECT_TRUE(writer);
    for (std::uint32_t r = 0; r < requests; ++r) {
      const std::uint32_t lean = r % 2 * 5 + random.below(3), other = random.below(8);
      std::vector<ExpertId> experts;
      for (std::uint32_t row = 0; row < (prefill + decode) * 3; ++row) {
        const bool noise = row % 3 == 1 && row < prefill * 3;
        const std::uint32_t kind = random.below(8) < (noise ? other : lean) ? 1 : 0;
        const std::uint32_t first = random.below(4);
        experts.push_back(ExpertId{static_cast<std::uint16_t>(4 * kind + first)});
        experts.push_back(ExpertId{static_cast<std::uint16_t>(4 * kind + (first + 1 + random.below(3)) % 4)});
      }
      std::vector<float> of_choices;
      for (std::size_t i = 0; weights && i < experts.size(); ++i) of_choices.push_back(i % 2 == 0 ? 0.5F : 0);
      EXPECT_TRUE(writer->add_request({.id = fmt::format("r{}", r),
                                       .domain = r % 2 == 0 ? "even" : "odd",
                                       .prefill_tokens = prefill,
                                       .decode_tokens = decode},
                                      experts, of_choices));
    }
    EXPECT_TRUE(writer->finish(8, {}));
  }

  Result<RouterFit> fit(RouterFitOptions options, std::size_t threads = 1) const {
    options.pairs = 2000;
    MOESAIC_ASSIGN(const trace::Trace trace, trace::Trace::open(files_, "/t.zarr"));
    ThreadPool pool(threads);
    return fit_router(trace, options, pool);
  }

 private:
  mutable io::MemoryFiles files_;
};

bool has_noisy_layer(const std::vector<LayerId>& layers) {
  return std::ranges::find(layers, LayerId{2}) != layers.end();
}

TEST(RouterFit, PutsEachKindOfRequestAtADecoderOfItsOwn) {
  const auto fit = Store().fit({.decoders = 2});
  ASSERT_TRUE(fit) << fit.error().message;
  EXPECT_EQ(fit->fitted, 48u);
  EXPECT_EQ(fit->scored, 12u);
  EXPECT_EQ(fit->clusters.fitted, (std::vector<std::uint64_t>{24, 24}));
  ASSERT_EQ(fit->clusters.scored.size(), 2u);
  EXPECT_EQ(fit->clusters.scored[0] + fit->clusters.scored[1], 12u);
  EXPECT_DOUBLE_EQ(fit->clusters.scored_max_over_mean,
                   static_cast<double>(std::ranges::max(fit->clusters.scored)) / 6);
  EXPECT_LT(fit->clusters.scored_max_over_mean, 1.4);
  const signature::Assigner& assigner = fit->router.assigner;
  EXPECT_EQ(assigner.targets(), 2u);
  EXPECT_EQ(assigner.target, signature::Target::kDecoder);
  // A request that touches one half of the experts alone goes elsewhere than one of the other half.
  const auto target = [&](std::size_t half) {
    std::vector<float> counts(24);
    for (std::size_t cell = 0; cell < 24; ++cell) counts[cell] = cell % 8 / 4 == half ? 1.0F : 0.0F;
    std::vector<double> cosines(2);
    signature::scores(assigner, counts, cosines);
    return signature::best_target(cosines);
  };
  EXPECT_NE(target(0), target(1));
}

TEST(RouterFit, ScoresEveryTransformOfCountsAndLeavesOutNoisyLayers) {
  const auto fit =
      Store(kTokens, kTokens, false, 240).fit({.decoders = 2, .transform = signature::Transform::kCount});
  ASSERT_TRUE(fit) << fit.error().message;
  ASSERT_EQ(fit->transforms.size(), 4u);
  for (const TransformScore& score : fit->transforms) {
    EXPECT_LE(score.rho_all, 1);
    // Nearly everybody uses every expert: binary tells little on any layer, and idf is noise.
    if (score.transform == signature::Transform::kBinary) continue;
    if (score.transform != signature::Transform::kCountIdf) {
      EXPECT_FALSE(has_noisy_layer(score.greedy)) << signature::name(score.transform);
    }
    EXPECT_GT(score.rho_all, 0.2) << signature::name(score.transform);
    EXPECT_GT(score.accuracy.value_or(0), 0.9) << signature::name(score.transform);
  }
  EXPECT_GT(fit->transforms[0].rho_greedy, fit->transforms[0].rho_all);
}

TEST(RouterFit, RouterWeightsMakeSignaturesOfTheirOwn) {
  const Store store(kTokens, kTokens, true);
  const auto fit = store.fit({.decoders = 2, .transform = signature::Transform::kGateProbability});
  ASSERT_TRUE(fit) << fit.error().message;
  ASSERT_EQ(fit->transforms.size(), 5u);
  const TransformScore& gate = fit->transforms.back();
  EXPECT_EQ(gate.transform, signature::Transform::kGateProbability);
  EXPECT_GT(gate.rho_all, 0.1);
  EXPECT_GT(gate.accuracy.value_or(0), 0.9);
  EXPECT_NE(gate.rho_all, fit->transforms.front().rho_all);  // half of the choices weigh nothing
  EXPECT_EQ(fit->router.assigner.space.transform, signature::Transform::kGateProbability);
  const auto without = Store().fit({.decoders = 2, .transform = signature::Transform::kGateProbability});
  ASSERT_FALSE(without);
  EXPECT_NE(without.error().message.find("needs router weights"), std::string::npos);
  const artifact::PromptTexts prompts;
  const auto prompted =
      store.fit({.decoders = 2, .transform = signature::Transform::kGateProbability, .prompts = &prompts});
  ASSERT_FALSE(prompted);
  EXPECT_NE(prompted.error().message.find("another --transform"), std::string::npos);
}

TEST(RouterFit, LayersAreAllOrTheBestOrTheFirstOfTheGreedyChoice) {
  const Store store;
  const auto layers = [&](LayerRule rule, std::size_t count) {
    const auto fit = store.fit(
        {.decoders = 2, .transform = signature::Transform::kCount, .layer_rule = rule, .layers = count});
    EXPECT_TRUE(fit);
    return fit ? fit->router.assigner.space.layers : std::vector<LayerId>{};
  };
  const std::vector<LayerId> all{LayerId{1}, LayerId{2}, LayerId{3}};
  EXPECT_EQ(layers(LayerRule::kAll, 0), all);
  EXPECT_EQ(layers(LayerRule::kFirst, 3), all);
  EXPECT_EQ(layers(LayerRule::kFirst, 2), (std::vector<LayerId>{LayerId{1}, LayerId{3}}));
  EXPECT_EQ(layers(LayerRule::kFirst, 1).size(), 1u);
  EXPECT_FALSE(has_noisy_layer(layers(LayerRule::kBest, 0)));
}

TEST(RouterFit, IsTheSameAtAnyThreadCountAndReadsBackEqual) {
  const Store store;
  const auto one = store.fit({.decoders = 5, .layer_rule = LayerRule::kBest, .seed = 3}, 1);
  const auto two = store.fit({.decoders = 5, .layer_rule = LayerRule::kBest, .seed = 3}, 2);
  ASSERT_TRUE(one && two);
  EXPECT_EQ(artifact::to_json(one->router), artifact::to_json(two->router));
  const auto read = artifact::parse_router(artifact::to_json(one->router), "router.json");
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->assigner, one->router.assigner);
  EXPECT_EQ(artifact::to_json(*read), artifact::to_json(one->router));
  EXPECT_EQ(read->seed, 3u);
  EXPECT_EQ(read->source.split_seed, 3u);
  EXPECT_EQ(read->source.requests, "train");
}

TEST(RouterFit, FittedOnAllIsScoredInSampleAndSaysSo) {
  const auto fit = Store().fit({.decoders = 2, .fitted_on = RequestSet::kAll});
  ASSERT_TRUE(fit);
  EXPECT_EQ(fit->fitted, 60u);
  EXPECT_EQ(fit->scored, 60u);
  ASSERT_EQ(fit->router.notes.size(), 1u);
  EXPECT_NE(fit->router.notes[0].find("in sample"), std::string::npos);
  EXPECT_TRUE(*fit->router.score.find("in_sample")->as_bool());
}

TEST(RouterFit, LearnsTheDecoderFromPromptsThatTellTheKind) {
  artifact::PromptTexts telling, silent;
  for (std::uint32_t r = 0; r < 60; r += r % 7 == 0 ? 2 : 1) {  // some have no prompt
    telling[fmt::format("r{}", r)] = fmt::format("{} question {}", r % 2 == 0 ? "algebra" : "bones", r % 11);
    silent[fmt::format("r{}", r)] = "hello";
  }
  const Store store;
  const auto fit = store.fit({.decoders = 2, .prompts = &telling});
  ASSERT_TRUE(fit) << fit.error().message;
  ASSERT_TRUE(fit->prompts && fit->router.prompt_model);
  EXPECT_EQ(fit->prompts->fitted + fit->prompts->scored, telling.size());
  EXPECT_GE(fit->prompts->accuracy, 0.9);
  EXPECT_GE(fit->prompts->prefill_accuracy, 0.9);
  EXPECT_LE(fit->prompts->chance, 0.8);
  EXPECT_GT(fit->prompts->cosine, fit->prompts->chance_cosine);
  EXPECT_LE(fit->prompts->cosine, fit->prompts->best_cosine);
  const signature::PromptModel& model = *fit->router.prompt_model;
  EXPECT_NE(model.group("algebra question 3"), model.group("bones question 3"));
  // What a group's prefills activate adds up to k a layer, and is what its decoder's prototype is made of.
  for (std::size_t group = 0; group < 2; ++group) {
    float sum = 0;
    for (const float share : model.usage_of(group)) sum += share;
    EXPECT_NEAR(static_cast<double>(sum), 6, 0.01);
    std::vector<double> cosines(2);
    signature::scores(fit->router.assigner, model.usage_of(group), cosines);
    EXPECT_EQ(signature::best_target(cosines), group);
  }
  const auto read = artifact::parse_router(artifact::to_json(fit->router), "router.json");
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->prompt_model, fit->router.prompt_model);
  const auto again = store.fit({.decoders = 2, .prompts = &telling}, 2);
  ASSERT_TRUE(again);
  EXPECT_EQ(artifact::to_json(again->router), artifact::to_json(fit->router));

  const auto nothing = store.fit({.decoders = 2, .prompts = &silent});
  ASSERT_TRUE(nothing);
  EXPECT_DOUBLE_EQ(nothing->prompts->accuracy, nothing->prompts->chance);  // texts that tell nothing
  const artifact::PromptTexts foreign{{"other/1", "text"}};
  const auto refused = store.fit({.decoders = 2, .prompts = &foreign});
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("ids must be those of the trace (the first is \"r0\")"),
            std::string::npos)
      << refused.error().message;
}

TEST(RouterFit, SaysWhatKeepsItFromFitting) {
  const auto expect = [](const Store& store, const RouterFitOptions& options, const std::string& part) {
    const auto fit = store.fit(options);
    ASSERT_FALSE(fit) << part;
    EXPECT_EQ(fit.error().kind, ErrorKind::kBadInput);
    EXPECT_NE(fit.error().message.find(part), std::string::npos) << fit.error().message;
  };
  const Store store;
  expect(store, {.decoders = 49}, "48 requests to fit 49 decoders on");
  expect(store, {.decoders = 2, .transform = signature::Transform::kGateProbability}, "router weights");
  expect(store, {.decoders = 2, .layer_rule = LayerRule::kFirst, .layers = 4}, "has 3 MoE layers");
  expect(store, {.decoders = 2, .layer_rule = LayerRule::kFirst, .layers = 0}, "has 3 MoE layers");
  expect(Store(0), {.decoders = 2}, "--predict-from");  // nothing was recorded of prefills
  EXPECT_TRUE(Store(0).fit({.decoders = 2, .from = {.prefill = false, .fraction = 0.5}}));
}

}  // namespace
}  // namespace moesaic::planning
