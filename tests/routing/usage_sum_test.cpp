#include "routing/usage_sum.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/random.hpp"

namespace moesaic::routing {
namespace {

std::vector<std::uint32_t> identity(std::size_t cells) {
  std::vector<std::uint32_t> order(cells);
  std::iota(order.begin(), order.end(), 0u);
  return order;
}

std::vector<Survival> survival(const std::vector<float>& p) {
  std::vector<Survival> out(p.size());
  to_survival(p, out);
  return out;
}

RC_GTEST_PROP(UsageSum, IdleIsTheProductOfWhatEachRequestLeavesIdle, ()) {
  Pcg32 random(*rc::gen::arbitrary<std::uint64_t>());
  const std::size_t cells = 1 + random.below(100), requests = random.below(40);
  UsageSum sum(identity(cells));
  std::vector<double> product(cells, 1);
  for (std::size_t r = 0; r < requests; ++r) {
    std::vector<float> p(cells);
    for (std::size_t i = 0; i < cells; ++i) {
      p[i] = static_cast<float>(random.below(1001)) / 1000 * (random.below(2) == 0 ? 0.02f : 0.9f);
      product[i] *= 1 - static_cast<double>(p[i]);
    }
    sum.add(survival(p));
  }
  double active = 0;
  for (std::size_t i = 0; i < cells; ++i) {
    // Each request is off by half of 1/4095 of p and half a unit of 1/1024 nats at most, times the slope
    // 1 / (1 - p) <= 10 of the logarithm.
    const double error = 0.002 + static_cast<double>(requests) * (0.0005 + 0.5 / 4095 * 10);
    RC_ASSERT(std::abs(static_cast<double>(sum.idle()[i]) - product[i]) <=
              product[i] * std::expm1(error) + 1e-6);
    active += 1 - static_cast<double>(sum.idle()[i]);
  }
  RC_ASSERT(std::abs(sum.active() - active) < 1e-3);
}

RC_GTEST_PROP(UsageSum, RemovingWhatWasAddedLeavesNoTrace, ()) {
  Pcg32 random(*rc::gen::arbitrary<std::uint64_t>());
  UsageSum sum(identity(50)), few(identity(50));
  std::vector<std::vector<Survival>> running;
  for (int event = 0; event < 60; ++event) {
    if (running.empty() || random.below(2) == 0) {
      std::vector<float> p(50);
      for (float& value : p) value = static_cast<float>(random.uniform());
      running.push_back(survival(p));
      sum.add(running.back());
    } else {
      std::swap(running[random.below(static_cast<std::uint32_t>(running.size()))], running.back());
      sum.remove(running.back());
      running.pop_back();
    }
  }
  for (const auto& request : running) few.add(request);
  RC_ASSERT(std::equal(sum.idle().begin(), sum.idle().end(), few.idle().begin()));
  RC_ASSERT(sum.active() == few.active());
}

TEST(UsageSum, AnEmptyBatchIsAllIdleAndACertainExpertNever) {
  UsageSum sum(identity(3));
  EXPECT_EQ(sum.active(), 0);
  EXPECT_EQ(sum.idle()[0], 1);
  const auto request = survival({1, 0, std::numeric_limits<float>::quiet_NaN()});
  for (int i = 0; i < 3; ++i) sum.add(request);
  EXPECT_LT(sum.idle()[0], 1e-6);
  EXPECT_EQ(sum.idle()[1], 1);
  EXPECT_EQ(sum.idle()[2], 1);
}

TEST(UsageSum, OthersCountAsManyRequestsAlike) {
  const auto request = survival({0.25f, 0.5f});
  UsageSum added(identity(2)), others(identity(2));
  for (int i = 0; i < 5; ++i) added.add(request);
  others.set_others(request, 9);
  others.set_others(request, 5);
  EXPECT_EQ(added.idle()[1], others.idle()[1]);
  others.set_others(request, 4'000'000'000u);
  EXPECT_LT(others.idle()[0], 1e-6);
  others.set_others(request, 0);
  EXPECT_EQ(others.active(), 0);
}

TEST(UsageSum, LaterMixesThoseHereWithTheMeanOfThoseAddedLately) {
  UsageSum sum(identity(2), {.requests = 2, .share = 0.5});
  EXPECT_EQ(sum.later()[0], 1);
  const auto red = survival({0.5f, 0}), blue = survival({0, 0.5f});
  sum.set_others(red, 3);
  EXPECT_EQ(sum.later()[0], sum.idle()[0]) << "nothing was added: no memory";
  sum.set_others(red, 0);
  sum.add(red);
  sum.add(red);
  sum.add(blue);  // the typical request, by a memory of 1.5: red / 3 + 2 blue / 3
  sum.remove(red);
  // Two requests, half of each is what runs (red, blue), half twice the typical one.
  EXPECT_NEAR(sum.idle()[0], 0.5, 2e-3);
  EXPECT_NEAR(sum.later()[0], std::pow(0.5, 0.5 + 1.0 / 3), 2e-3);
  EXPECT_NEAR(sum.later()[1], std::pow(0.5, 0.5 + 2.0 / 3), 2e-3);
  sum.remove(red);
  EXPECT_EQ(sum.idle()[0], 1) << "blue alone runs";
  EXPECT_NEAR(sum.later()[0], std::pow(0.5, 0.5 / 3), 2e-3) << "but red is remembered";
  EXPECT_NEAR(sum.later()[1], std::pow(0.5, 0.5 + 1.0 / 3), 2e-3);
}

TEST(UsageSum, WhatWasObservedGoesIntoTheMemoryAlone) {
  UsageSum sum(identity(2), {.requests = 4, .share = 1});
  const auto red = survival({0.5f, 0}), blue = survival({0, 0.5f});
  sum.remember(red);  // the first: all there is to remember
  EXPECT_EQ(sum.active(), 0);
  sum.add(blue);  // spans 1.25: red / 5 + 4 blue / 5
  EXPECT_EQ(sum.idle()[0], 1);
  EXPECT_NEAR(sum.later()[0], std::pow(0.5, 0.2), 2e-3);
  sum.remember(red);  // a quarter of it from now on, as of a memory of 4
  EXPECT_NEAR(sum.later()[0], std::pow(0.5, 0.25 + 0.75 * 0.2), 2e-3);
  EXPECT_NEAR(sum.later()[1], std::pow(0.5, 0.75 * 0.8), 2e-3);
}

TEST(UsageSum, RequestsOfOthersAreNotTakenForTypicalOnes) {
  UsageSum sum(identity(2), {.requests = 4, .share = 1});
  const auto red = survival({0.5f, 0}), blue = survival({0, 0.5f});
  sum.add(red);
  sum.set_others(blue, 3);
  EXPECT_NEAR(sum.later()[0], 0.5, 2e-3);
  EXPECT_NEAR(sum.later()[1], std::pow(0.5, 3), 2e-3);
  sum.remove(red);
  EXPECT_EQ(sum.later()[0], 1);
  EXPECT_NEAR(sum.later()[1], std::pow(0.5, 3), 2e-3);
}

TEST(UsageSum, WithoutAShareLaterIsNow) {
  UsageSum sum(identity(2), {.share = 0});
  sum.add(survival({0.5f, 0.1f}));
  sum.add(survival({0.2f, 0.9f}));
  EXPECT_EQ(sum.later()[0], sum.idle()[0]);
  EXPECT_EQ(sum.later()[1], sum.idle()[1]);
}

TEST(UsageSum, IdleComesInTheOrderAskedFor) {
  UsageSum sum({2, 0, 1});
  sum.add(survival({0, 0.5f, 1}));
  EXPECT_LT(sum.idle()[0], 1e-3);
  EXPECT_EQ(sum.idle()[1], 1);
  EXPECT_NEAR(sum.idle()[2], 0.5, 2e-3);
}

RC_GTEST_PROP(UsageSum, SurvivalIsTheSameInVectorAndScalarForm, ()) {
  const auto size = *rc::gen::inRange<std::size_t>(1, 30);
  const auto p = *rc::gen::container<std::vector<float>>(
      size, rc::gen::map(rc::gen::inRange(-100, 1100), [](int n) { return static_cast<float>(n) / 1000; }));
  const auto whole = survival(p);
  for (std::size_t i = 0; i < size; ++i) {
    RC_ASSERT(whole[i] == survival({p[i]})[0]);
    const double bounded = std::clamp(static_cast<double>(p[i]), 0.0, 0.999);
    const double nats = std::min(8.0, -std::log1p(-bounded));
    RC_ASSERT(bounded == 0.999 || std::abs(whole[i] / 1024.0 - nats) < 0.001 + 0.00013 / (1 - bounded));
  }
}

}  // namespace
}  // namespace moesaic::routing
