#include "signature/prompt_model.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "core/random.hpp"

namespace moesaic::signature {
namespace {

/// Sentences of two kinds of words, made up.
struct Texts {
  std::vector<std::string> owned{};
  std::vector<std::uint32_t> group{};

  Texts(std::size_t count, std::uint64_t seed) {
    static const std::vector<std::vector<std::string>> kWords = {
        {"ring", "field", "group", "kernel", "prime", "order", "degree", "polynomial"},
        {"nerve", "artery", "muscle", "bone", "vein", "tissue", "tendon", "gland"},
        {"für", "der", "und", "nicht", "über", "auch", "sein", "werden"}};
    Pcg32 random(seed);
    for (std::size_t i = 0; i < count; ++i) {
      group.push_back(random.below(3));
      std::string text;
      for (int word = 0; word < 8; ++word) {
        // One word in four is of any kind.
        const std::size_t kind = random.below(4) == 0 ? random.below(3) : group.back();
        text += kWords[kind][random.below(8)] + ' ';
      }
      owned.push_back(std::move(text));
    }
  }
  std::vector<std::string_view> views() const { return {owned.begin(), owned.end()}; }
};

PromptModel fitted(const Texts& texts, std::size_t threads = 1) {
  ThreadPool pool(threads);
  return fit_prompt_model(texts.views(), texts.group, 3, {}, pool);
}

TEST(PromptFeatures, CountEveryGramAndHaveUnitLength) {
  const PromptFeatures how{.grams = 2, .buckets = 1 << 16, .max_bytes = 100};
  std::vector<float> x(how.buckets);
  prompt_features(how, "aaa", x);  // a three times, aa twice
  std::vector<float> positive;
  for (const float value : x) {
    if (value > 0) positive.push_back(value);
  }
  ASSERT_EQ(positive.size(), 2u);
  std::ranges::sort(positive);
  EXPECT_FLOAT_EQ(positive[0], std::sqrt(0.4f));
  EXPECT_FLOAT_EQ(positive[1], std::sqrt(0.6f));

  std::vector<float> whole(how.buckets), cut(how.buckets);
  prompt_features(how, std::string(100, 'b'), whole);
  prompt_features(how, std::string(100, 'b') + "what follows is not read", cut);
  EXPECT_EQ(whole, cut);
  prompt_features(how, "", x);
  EXPECT_EQ(x, std::vector<float>(how.buckets));
}

RC_GTEST_PROP(PromptFeatures, TakeAnyBytes, ()) {
  const auto text = *rc::gen::container<std::string>(rc::gen::arbitrary<char>());
  const PromptFeatures how{.grams = *rc::gen::inRange(1u, 9u), .buckets = 64, .max_bytes = 40};
  std::vector<float> x(how.buckets);
  prompt_features(how, text, x);
  double length = 0;
  for (const float value : x) length += static_cast<double>(value * value);
  RC_ASSERT(std::abs(length - (text.empty() ? 0 : 1)) < 1e-4);
}

TEST(PromptModel, FindsTheGroupOfTextsItHasNotSeen) {
  const PromptModel model = fitted(Texts(200, 1));
  ASSERT_TRUE(validate(model));
  const Texts unseen(200, 2);
  std::size_t right = 0;
  for (std::size_t i = 0; i < unseen.owned.size(); ++i) {
    const auto scores = model.scores(unseen.owned[i]);
    ASSERT_EQ(scores.size(), 3u);
    double sum = 0;
    for (const float score : scores) sum += static_cast<double>(score);
    EXPECT_NEAR(sum, 1, 0.1);  // memberships add up to one, and so do their regressions
    right += model.group(unseen.owned[i]) == unseen.group[i];
  }
  EXPECT_GE(right, 180u);  // chance: 67
}

TEST(PromptModel, LearnsNothingFromLabelsThatMeanNothing) {
  Texts texts(300, 3);
  Pcg32 random(4);
  shuffle(std::span(texts.group), random);
  const PromptModel model = fitted(texts);
  // The ridge that is chosen is the strongest: scores stay near the shares.
  for (const float score : model.scores(texts.owned[0])) EXPECT_NEAR(score, 1.0 / 3, 0.15);
}

TEST(PromptModel, OneAndTwoThreadsGiveTheSameModel) {
  const Texts texts(60, 5);
  EXPECT_EQ(fitted(texts, 1), fitted(texts, 2));
}

TEST(PromptModel, ASingleTextGivesItsGroup) {
  ThreadPool pool(1);
  const std::vector<std::string_view> one{"alone"};
  const std::vector<std::uint32_t> group{1};
  const PromptModel model = fit_prompt_model(one, group, 3, {}, pool);
  ASSERT_TRUE(validate(model));
  EXPECT_EQ(model.group("something else"), 1u);
  EXPECT_EQ(model.group(""), 1u);
}

TEST(PromptModel, WhatDoesNotFitIsRefused) {
  const PromptModel good = fitted(Texts(20, 6));
  const auto refused = [&](auto damage) {
    PromptModel model = good;
    damage(model);
    const Status valid = validate(model);
    return valid ? std::string() : valid.error().message;
  };
  EXPECT_EQ(refused([](PromptModel&) {}), "");
  EXPECT_NE(refused([](PromptModel& m) { m.features.grams = 9; }).find("9 grams"), std::string::npos);
  EXPECT_NE(refused([](PromptModel& m) { m.features.buckets = 0; }).find("0 buckets"), std::string::npos);
  EXPECT_NE(refused([](PromptModel& m) { m.weights.pop_back(); }).find("do not fit"), std::string::npos);
  EXPECT_NE(refused([](PromptModel& m) { m.cells = 4; }).find("4 cells"), std::string::npos);
  EXPECT_NE(refused([](PromptModel& m) { m.bias[0] = std::numeric_limits<float>::infinity(); }).find("bias"),
            std::string::npos);
  EXPECT_NE(refused([](PromptModel& m) {
              m.cells = 1;
              m.usage = {0, 0, 2};
            }).find("outside 0 to 1"),
            std::string::npos);
}

}  // namespace
}  // namespace moesaic::signature
