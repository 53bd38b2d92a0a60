#include "gateway/lessons.hpp"

#include "core/random.hpp"

namespace moesaic::gateway {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kLayers = 2, kExperts = 16;
const ModelShape kShape{"m", 2, {LayerId{0}, LayerId{1}}, kExperts, 2};

/// Requests of two kinds: kind 0 uses the first half of the experts and talks of peas, kind 1 the other half.
Lesson lesson(std::size_t kind, Pcg32& random) {
  const auto usage = [&](std::uint32_t tokens) {
    auto out = std::make_shared<Usage>();
    out->counts.assign(kLayers * kExperts, 0.0f);
    out->tokens = tokens;
    for (std::uint32_t t = 0; t < tokens; ++t) {
      for (std::size_t layer = 0; layer < kLayers; ++layer) {
        const std::uint32_t first = random.below(8), second = (first + 1 + random.below(7)) % 8;
        for (const std::uint32_t expert : {first, second})
          out->counts[layer * kExperts + kind * 8 + expert] += 1;
      }
    }
    return out;
  };
  const char* const words[2][3] = {{"peas and soup ", "boil them ", "a pot "},
                                   {"int x = 0; ", "return y; ", "while (z) "}};
  std::string text;
  for (int i = 0; i < 5; ++i) text += words[kind][random.below(3)];
  return {usage(3), usage(30), text};
}

RefitWork work(std::size_t count, std::uint64_t seed = 1) {
  Pcg32 random(seed);
  RefitWork out{.shape = kShape, .groups = 2};
  out.predictor = std::make_shared<const signature::Predictor>(signature::uniform_predictor(kShape));
  for (std::size_t i = 0; i < count; ++i) out.lessons.push_back(lesson(i % 2, random));
  return out;
}

TEST(Lessons, ARefitForetellsUnseenRequestsBetterThanKnowingNothing) {
  ThreadPool pool(2);
  const RefitOutcome outcome = refit_from(work(60), pool);
  EXPECT_EQ(outcome.learnt, 48u);
  EXPECT_EQ(outcome.scored, 12u);
  EXPECT_TRUE(outcome.predictor_score.better())
      << outcome.predictor_score.before << " " << outcome.predictor_score.after;
  ASSERT_TRUE(outcome.prompt_model);
  EXPECT_TRUE(signature::validate(*outcome.prompt_model));
  EXPECT_GT(outcome.prompt_score.after, 0.8) << "words tell the kinds apart";
}

TEST(Lessons, WhatIsAsGoodAsTheNewOneStays) {
  ThreadPool pool(2);
  RefitWork again = work(60);
  const RefitOutcome first = refit_from(again, pool);
  again.predictor = std::make_shared<const signature::Predictor>(first.predictor);
  again.prompt_model = std::make_shared<const signature::PromptModel>(*first.prompt_model);
  const RefitOutcome second = refit_from(again, pool);
  EXPECT_FALSE(second.predictor_score.better());
  EXPECT_FALSE(second.prompt_score.better());
}

TEST(Lessons, WithoutWordsThereIsNoPromptModel) {
  RefitWork silent = work(60);
  for (Lesson& one : silent.lessons) one.text.clear();
  ThreadPool pool(1);
  EXPECT_FALSE(refit_from(silent, pool).prompt_model);
}

TEST(Lessons, ARefitIsDueWhenEnoughIsNewAndTimeHasPassed) {
  Pcg32 random(1);
  Lessons lessons({.every = 10s, .min_requests = 10, .max_requests = 15});
  for (int i = 0; i < 9; ++i) lessons.add(lesson(0, random));
  EXPECT_FALSE(lessons.due(20s));
  lessons.add(lesson(0, random));
  EXPECT_FALSE(lessons.due(9s));
  EXPECT_TRUE(lessons.due(10s));
  EXPECT_EQ(lessons.take(10s).size(), 10u);
  for (int i = 0; i < 20; ++i) lessons.add(lesson(1, random));
  EXPECT_FALSE(lessons.due(100s)) << "one is out";
  lessons.refitted();
  EXPECT_FALSE(lessons.due(19s));
  EXPECT_TRUE(lessons.due(20s));
  EXPECT_EQ(lessons.take(20s).size(), 15u) << "the newest";
}

}  // namespace
}  // namespace moesaic::gateway
