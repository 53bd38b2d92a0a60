#include "grouping/waiting_line.hpp"

#include <algorithm>
#include <map>

namespace moesaic::grouping {
namespace {

TEST(WaitingLine, WhoeverIsPassedTooOftenIsNext) {
  WaitingLine line(2);
  for (const std::uint32_t request : {0u, 1u, 2u}) line.push(request);
  EXPECT_EQ(line.eligible(), 3u);
  EXPECT_EQ(line.take(2), 2u);
  line.push(3);
  EXPECT_EQ(line.eligible(), 2u);  // of 0 and 1, the second must go no later than the turn after next
  EXPECT_EQ(line.take(1), 1u);
  EXPECT_EQ(line.eligible(), 1u);
  EXPECT_EQ(line.take(0), 0u);
  EXPECT_EQ(line.take(0), 3u);
  EXPECT_TRUE(line.empty());
}

TEST(WaitingLine, WithoutPassingItIsFirstInFirstOut) {
  WaitingLine line(0);
  for (std::uint32_t request = 0; request < 5; ++request) line.push(request);
  for (std::uint32_t request = 0; request < 5; ++request) {
    EXPECT_EQ(line.eligible(), 1u);
    EXPECT_EQ(line.take(0), request);
  }
}

TEST(WaitingLine, NobodyIsLaterThanHisPlaceByMoreThanAllowed) {
  WaitingLine line(0, 2);
  for (std::uint32_t request = 0; request < 6; ++request) line.push(request);
  EXPECT_EQ(line.take(5), 5u);
  EXPECT_EQ(line.take(4), 4u);
  EXPECT_EQ(line.eligible(), 1u);  // 0 was to go first and is two places late
  EXPECT_EQ(line.take(0), 0u);
  EXPECT_EQ(line.eligible(), 1u);  // and so is 1 now
}

TEST(WaitingLine, TheCheapestOfThoseLookedAtIsTaken) {
  WaitingLine line(100);
  for (std::uint32_t request = 0; request < 6; ++request) line.push(request);
  const std::vector<int> price{4, 2, 3, 2, 0, 0};
  std::vector<std::uint32_t> told;
  const auto taken = take_cheapest(
      line, 3, 4, [&](std::uint32_t request) { return price[request]; },
      [&](std::uint32_t request) { told.push_back(request); });
  EXPECT_EQ(taken, (std::vector<std::uint32_t>{1, 4, 5}));  // 1, not 3: it came first; then 4 is among four
  EXPECT_EQ(told, taken);
}

RC_GTEST_PROP(WaitingLine, NobodyIsPassedBeyondTheBoundOrTheirPlaceInTheLine, ()) {
  const auto bound = *rc::gen::inRange<std::uint64_t>(0, 12);
  WaitingLine line(bound);
  struct Came {
    std::uint64_t turn = 0;
    std::size_t ahead = 0;
  };
  std::map<std::uint32_t, Came> waiting;
  std::uint64_t turn = 0;
  std::uint32_t next = 0;
  for (int event = *rc::gen::inRange(0, 200); event > 0; --event) {
    if (*rc::gen::inRange(0, 5) < 3) {
      waiting[next] = {turn, line.size()};
      line.push(next++);
    } else if (!line.empty()) {
      const std::size_t eligible = line.eligible();
      RC_ASSERT(eligible >= 1u && eligible <= line.size());
      // Mostly the last one that may go: the hardest for those before it.
      const std::size_t i =
          *rc::gen::inRange(0, 3) ? eligible - 1 : *rc::gen::inRange<std::size_t>(0, eligible);
      const std::uint32_t taken = line.take(i);
      RC_ASSERT(waiting.contains(taken));
      const Came came = waiting[taken];
      RC_ASSERT(turn - came.turn <= std::max<std::uint64_t>(bound, came.ahead));
      waiting.erase(taken);
      ++turn;
    }
  }
  RC_ASSERT(line.size() == waiting.size());
}

}  // namespace
}  // namespace moesaic::grouping
