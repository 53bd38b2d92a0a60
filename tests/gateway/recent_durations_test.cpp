#include "gateway/recent_durations.hpp"

#include <algorithm>
#include <cmath>

namespace moesaic::gateway {
namespace {

using namespace std::chrono_literals;

TEST(RecentDurations, WithoutValuesThereIsNothingToTell) {
  const RecentDurations recent;
  EXPECT_EQ(recent.over(1h, 12).count, 0u);
  EXPECT_EQ(recent.over(1h, 12).p99, 0);
  EXPECT_TRUE(recent.bins(1h, 12).empty());
}

TEST(RecentDurations, ValuesLeaveTheWindowAndTheirSlotIsUsedAgain) {
  RecentDurations recent;
  recent.add(1h, 10ms);
  EXPECT_EQ(recent.over(1h, 1).count, 1u);
  EXPECT_EQ(recent.over(1h + 55s, 12).count, 1u);
  EXPECT_EQ(recent.over(1h + 60s, 12).count, 0u);
  EXPECT_EQ(recent.over(1h + 60s, 13).count, 1u);
  recent.add(1h + 300s, 20ms);  // the same slot, five minutes later
  EXPECT_EQ(recent.over(1h + 300s, 60).count, 1u);
  EXPECT_GT(recent.over(1h + 300s, 60).p50, 0.015);
}

TEST(RecentDurations, WhatIsTooShortOrTooLongStaysAtTheEnds) {
  RecentDurations recent;
  recent.add(1s, -5ns);
  recent.add(1s, 0ns);
  recent.add(1s, 24h);
  const auto bins = recent.bins(1s, 1);
  EXPECT_EQ(bins.front().count, 2u);
  EXPECT_EQ(bins.back().count, 1u);
  EXPECT_GT(bins.back().to, 100);
}

RC_GTEST_PROP(RecentDurations, QuantilesAreThoseOfTheSortedValuesWithinABucket, ()) {
  const auto values = *rc::gen::nonEmpty(
      rc::gen::container<std::vector<std::int64_t>>(rc::gen::inRange<std::int64_t>(10'000, 60'000'000'000)));
  RecentDurations recent;
  for (const std::int64_t value : values) recent.add(1h, Nanoseconds(value));
  auto sorted = values;
  std::sort(sorted.begin(), sorted.end());
  const auto exact = [&](double q) {
    const auto rank = static_cast<std::size_t>(std::ceil(q * static_cast<double>(sorted.size())));
    return static_cast<double>(sorted[std::max<std::size_t>(rank, 1) - 1]) * 1e-9;
  };
  const auto told = recent.over(1h, 1);
  RC_ASSERT(told.count == values.size());
  for (const auto& [got, wanted] :
       {std::pair(told.p50, exact(0.5)), std::pair(told.p90, exact(0.9)), std::pair(told.p99, exact(0.99))}) {
    RC_ASSERT(std::abs(got - wanted) <= 0.126 * wanted);
  }
  std::uint64_t sum = 0;
  for (const auto& bin : recent.bins(1h, 1)) sum += bin.count;
  RC_ASSERT(sum == values.size());
}

}  // namespace
}  // namespace moesaic::gateway
