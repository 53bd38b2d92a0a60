#include "grouping/online_homes.hpp"

#include <algorithm>
#include <numeric>

#include "core/random.hpp"

namespace moesaic::grouping {
namespace {

struct Arrivals {
  std::vector<double> scores;
  std::vector<std::int64_t> tokens;
  std::vector<std::uint32_t> order;
};

Arrivals some_arrivals(std::size_t requests, std::size_t homes, std::uint64_t seed) {
  Arrivals a;
  Pcg32 random(seed);
  for (std::size_t i = 0; i < requests * homes; ++i) a.scores.push_back(random.uniform());
  for (std::size_t i = 0; i < requests; ++i) a.tokens.push_back(1 + random.below(100));
  a.order.resize(requests);
  std::iota(a.order.begin(), a.order.end(), 0u);
  shuffle(std::span(a.order), random);
  return a;
}

TEST(OnlineHomes, AFullHomeSendsTheNextRequestToTheBestOfTheOthers) {
  const std::vector<double> scores{0.9, 0.1, 0.2, 0.9, 0.1, 0.2};
  const std::vector<double> shares{1.0 / 3, 1.0 / 3, 1.0 / 3};
  const std::vector<std::int64_t> tokens{10, 10};
  const std::vector<std::uint32_t> order{0, 1};
  const auto result = online_homes(scores, shares, tokens, tokens, order, {.grace_requests = 0});
  EXPECT_EQ(result.homes.of_request, (std::vector<HomeId>{HomeId(0), HomeId(2)}));
  EXPECT_DOUBLE_EQ(result.home_max_over_mean, 1.5);
  EXPECT_DOUBLE_EQ(result.mean_score, 0.55);
  EXPECT_DOUBLE_EQ(result.mean_best_score, 0.9);
}

TEST(OnlineHomes, GraceLetsAHomeTakeOneRequestMoreThanItsShare) {
  const std::vector<double> scores{0.9, 0.1, 0.8, 0.1, 0.7, 0.1};
  const std::vector<double> shares{0.5, 0.5};
  const std::vector<std::int64_t> tokens{10, 10, 10};
  const std::vector<std::uint32_t> order{0, 1, 2};
  const auto homes = [&](double grace) {
    const OnlineOptions options{.epsilon = 0, .grace_requests = grace};
    return online_homes(scores, shares, tokens, tokens, order, options).homes.of_request;
  };
  EXPECT_EQ(homes(0), (std::vector<HomeId>{HomeId(0), HomeId(1), HomeId(0)}));
  EXPECT_EQ(homes(0.5), (std::vector<HomeId>{HomeId(0), HomeId(0), HomeId(1)}));
  EXPECT_EQ(homes(1), (std::vector<HomeId>{HomeId(0), HomeId(0), HomeId(0)}));
}

TEST(OnlineHomes, TheFirstToArriveChoosesFirst) {
  const std::vector<double> scores{0.9, 0.1, 0.8, 0.1};
  const std::vector<double> shares{0.5, 0.5};
  const std::vector<std::int64_t> tokens{1, 1};
  const auto result =
      online_homes(scores, shares, tokens, tokens, std::vector<std::uint32_t>{1, 0}, {.grace_requests = 0});
  EXPECT_EQ(result.homes.of_request, (std::vector<HomeId>{HomeId(1), HomeId(0)}));
}

TEST(OnlineHomes, NoRequestJoinsAHomeAboveItsBound) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const Arrivals a = some_arrivals(200, 4, seed);
    const std::vector<double> shares{0.4, 0.3, 0.2, 0.1};
    for (const AssignMode mode : {AssignMode::kAfterPrefill, AssignMode::kRandom}) {
      const double grace = static_cast<double>(seed % 3);
      const OnlineOptions options{.mode = mode, .epsilon = 0.05, .grace_requests = grace, .seed = seed};
      const auto result = online_homes(a.scores, shares, a.tokens, a.tokens, a.order, options);
      std::vector<double> load(4);
      double placed = 0, seen = 0;
      for (const std::uint32_t r : a.order) {
        const std::size_t home = index(result.homes.of_request[r]);
        const double mean = seen > 0 ? placed / seen : 0;
        ASSERT_LE(load[home], 1.05 * shares[home] * placed + grace * mean + 1e-9);
        load[home] += static_cast<double>(a.tokens[r]);
        placed += static_cast<double>(a.tokens[r]);
        ++seen;
      }
    }
  }
}

TEST(OnlineHomes, WhatFollowsDoesNotChangeWhatWasChosen) {
  const Arrivals a = some_arrivals(100, 5, 3);
  const auto shares = signature::equal_shares(5);
  const auto all = online_homes(a.scores, shares, a.tokens, a.tokens, a.order, {});
  Arrivals changed = a;
  for (std::size_t at = 50; at < 100; ++at) {
    changed.tokens[a.order[at]] = 7;
    for (std::size_t h = 0; h < 5; ++h) changed.scores[a.order[at] * 5 + h] = 0.5;
  }
  const auto other = online_homes(changed.scores, shares, changed.tokens, changed.tokens, a.order, {});
  for (std::size_t at = 0; at < 50; ++at) {
    EXPECT_EQ(all.homes.of_request[a.order[at]], other.homes.of_request[a.order[at]]);
  }
}

TEST(OnlineHomes, LoadCountsPredictedTokensButTheReportTrueOnes) {
  const std::vector<double> scores{0.9, 0.1, 0.9, 0.1};
  const std::vector<double> shares{0.5, 0.5};
  const auto result = online_homes(scores, shares, std::vector<std::int64_t>{0, 0},
                                   std::vector<std::int64_t>{30, 10}, std::vector<std::uint32_t>{0, 1}, {});
  EXPECT_EQ(result.homes.of_request, (std::vector<HomeId>{HomeId(0), HomeId(0)}));
  EXPECT_DOUBLE_EQ(result.home_max_over_mean, 2);
}

TEST(OnlineHomes, RandomDependsOnTheSeedAlone) {
  const Arrivals a = some_arrivals(60, 4, 1), b = some_arrivals(60, 4, 2);
  const auto shares = signature::equal_shares(4);
  const OnlineOptions one{.mode = AssignMode::kRandom, .seed = 1},
      two{.mode = AssignMode::kRandom, .seed = 2};
  const auto first = online_homes(a.scores, shares, a.tokens, a.tokens, a.order, one);
  EXPECT_EQ(first.homes.of_request,
            online_homes(b.scores, shares, a.tokens, a.tokens, a.order, one).homes.of_request);
  EXPECT_NE(first.homes.of_request,
            online_homes(a.scores, shares, a.tokens, a.tokens, a.order, two).homes.of_request);
}

TEST(AssignMode, ReadsBackItsNames) {
  for (const AssignMode mode :
       {AssignMode::kAfterPrefill, AssignMode::kPredicted, AssignMode::kRandom, AssignMode::kTold}) {
    EXPECT_EQ(*parse_assign_mode(name(mode), true), mode);
    EXPECT_EQ(parse_assign_mode(name(mode)).has_value(), mode != AssignMode::kTold);
  }
  const auto wrong = parse_assign_mode("late");
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().kind, ErrorKind::kBadInput);
}

}  // namespace
}  // namespace moesaic::grouping
