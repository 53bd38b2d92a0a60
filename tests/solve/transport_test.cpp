#include "solve/transport.hpp"

#include <algorithm>
#include <numeric>

#include "core/random.hpp"

namespace moesaic::solve {
namespace {

struct Case {
  std::size_t items, bins;
  std::vector<std::int64_t> costs, capacities;
  TransportProblem problem(std::span<const std::int64_t> prices = {}) const {
    return {items, bins, costs, capacities, prices};
  }
};

Case some_case(std::size_t items, std::size_t bins, std::int64_t room, std::uint32_t range,
               std::uint64_t seed) {
  Case c{items, bins, {}, std::vector<std::int64_t>(bins)};
  Pcg32 random(seed);
  for (std::size_t i = 0; i < items * bins; ++i)
    c.costs.push_back(std::int64_t{random.below(range)} - range / 3);
  for (std::int64_t left = static_cast<std::int64_t>(items) + room; left > 0; --left) {
    ++c.capacities[random.below(static_cast<std::uint32_t>(bins))];
  }
  return c;
}

std::int64_t least_cost_by_trying_all(const Case& c, std::size_t item, std::vector<std::int64_t>& room) {
  if (item == c.items) return 0;
  std::int64_t best = INT64_MAX / 2;
  for (std::size_t k = 0; k < c.bins; ++k) {
    if (room[k] == 0) continue;
    --room[k];
    best = std::min(best, c.costs[item * c.bins + k] + least_cost_by_trying_all(c, item + 1, room));
    ++room[k];
  }
  return best;
}

/// Complementary slackness: feasible, every item in a bin of least cost + price, spare bins at price 0.
void expect_proven(const Case& c, const TransportResult& result) {
  std::vector<std::int64_t> held(c.bins);
  std::int64_t cost = 0;
  ASSERT_EQ(result.bin_of_item.size(), c.items);
  for (std::size_t i = 0; i < c.items; ++i) {
    const std::size_t bin = result.bin_of_item[i];
    ASSERT_LT(bin, c.bins);
    ++held[bin];
    cost += c.costs[i * c.bins + bin];
    for (std::size_t k = 0; k < c.bins; ++k) {
      ASSERT_LE(c.costs[i * c.bins + bin] + result.prices[bin], c.costs[i * c.bins + k] + result.prices[k]);
    }
  }
  EXPECT_EQ(cost, result.cost);
  for (std::size_t k = 0; k < c.bins; ++k) {
    EXPECT_LE(held[k], c.capacities[k]);
    EXPECT_GE(result.prices[k], 0);
    if (held[k] < c.capacities[k]) {
      EXPECT_EQ(result.prices[k], 0);
    }
  }
}

TEST(Transport, TakesTheCheaperDetourWhenABinIsFull) {
  // Both items want bin 0; item 1 loses less by leaving.
  const Case c{2, 2, {0, 10, 1, 4}, {1, 1}};
  const auto result = transport(c.problem());
  ASSERT_TRUE(result);
  EXPECT_EQ(result->bin_of_item, (std::vector<std::uint32_t>{0, 1}));
  EXPECT_EQ(result->cost, 4);
}

TEST(Transport, NothingToPlaceIsFree) {
  const Case c{0, 3, {}, {0, 2, 0}};
  const auto result = transport(c.problem());
  ASSERT_TRUE(result);
  EXPECT_EQ(result->cost, 0);
}

TEST(Transport, SaysNoWhenTheBinsAreTooSmall) {
  const Case c{3, 2, {0, 0, 0, 0, 0, 0}, {1, 1}};
  const auto result = transport(c.problem());
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind, ErrorKind::kNo);
  EXPECT_NE(result.error().message.find("3 items do not fit into 2 bins"), std::string::npos);
}

TEST(Transport, CapacitiesBeyondTheItemsAreNoBurden) {
  const Case c{3, 2, {5, 1, 5, 1, 1, 5}, {INT64_MAX, INT64_MAX}};
  const std::vector<std::int64_t> prices{INT64_MIN, INT64_MAX};
  const auto result = transport(c.problem(prices));
  ASSERT_TRUE(result);
  EXPECT_EQ(result->cost, 3);
  expect_proven(c, *result);
}

RC_GTEST_PROP(TransportProperty, CostsWhatTryingEveryAssignmentFinds, ()) {
  const Case c =
      some_case(*rc::gen::inRange<std::size_t>(1, 8), *rc::gen::inRange<std::size_t>(1, 5),
                *rc::gen::inRange(0, 4), *rc::gen::element(3u, 1000u), *rc::gen::arbitrary<std::uint64_t>());
  auto room = c.capacities;
  const auto result = transport(c.problem());
  RC_ASSERT(result.has_value());
  RC_ASSERT(result->cost == least_cost_by_trying_all(c, 0, room));
}

TEST(Transport, PricesProveTheAnswerOnLargerCases) {
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    const Case c = some_case(300, 2 + seed % 17, static_cast<std::int64_t>(seed % 3) * 20,
                             seed % 2 == 0 ? 7 : 100'000, seed);
    const auto result = transport(c.problem());
    ASSERT_TRUE(result);
    expect_proven(c, *result);
  }
}

TEST(Transport, WarmStartsFromAnyPricesReachTheSameCost) {
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    const Case c = some_case(200, 9, static_cast<std::int64_t>(seed % 4) * 30, 1000, seed);
    const auto cold = transport(c.problem());
    ASSERT_TRUE(cold);
    Pcg32 random(seed, 1);
    std::vector<std::int64_t> prices;
    for (int k = 0; k < 9; ++k) prices.push_back(std::int64_t{random.below(3000)} - 1000);
    const auto warm = transport(c.problem(prices));
    ASSERT_TRUE(warm);
    EXPECT_EQ(warm->cost, cold->cost);
    expect_proven(c, *warm);
  }
}

TEST(Transport, ItsOwnPricesLeaveAlmostNoPathsToPush) {
  const Case c = some_case(2000, 16, 0, 1'000'000'000, 5);
  TransportStats cold_stats, warm_stats;
  const auto cold = transport(c.problem(), &cold_stats);
  ASSERT_TRUE(cold);
  const auto warm = transport(c.problem(cold->prices), &warm_stats);
  ASSERT_TRUE(warm);
  EXPECT_EQ(warm->cost, cold->cost);
  EXPECT_LE(warm_stats.paths, 16u);
  EXPECT_GT(cold_stats.paths, 100u);
}

TEST(Transport, RenamingItemsRenamesTheAnswer) {
  const Case c = some_case(500, 8, 3, 1'000'000'000, 11);
  std::vector<std::size_t> order(c.items);
  std::iota(order.begin(), order.end(), std::size_t{0});
  Pcg32 random(4);
  shuffle(std::span(order), random);
  Case renamed{c.items, c.bins, {}, c.capacities};
  for (const std::size_t i : order) {
    renamed.costs.insert(renamed.costs.end(), c.costs.begin() + static_cast<std::ptrdiff_t>(i * c.bins),
                         c.costs.begin() + static_cast<std::ptrdiff_t>((i + 1) * c.bins));
  }
  const auto first = transport(c.problem());
  const auto second = transport(renamed.problem());
  ASSERT_TRUE(first && second);
  for (std::size_t i = 0; i < c.items; ++i) {
    EXPECT_EQ(second->bin_of_item[i], first->bin_of_item[order[i]]);
  }
}

}  // namespace
}  // namespace moesaic::solve
