#include <algorithm>
#include <numeric>

#include "placement/algorithms.hpp"
#include "placement/fake_demand.hpp"
#include "placement/greedy.hpp"
#include "placement/preference.hpp"

namespace moesaic::placement {
namespace {

using testing::FakeDemand;
using testing::ids;

std::vector<ExpertId> experts(const std::vector<int>& ids_) {
  std::vector<ExpertId> out;
  for (const int id : ids_) out.push_back(id < 0 ? kMissingExpert : ExpertId(static_cast<std::uint16_t>(id)));
  return out;
}

TEST(Greedy, MeetsTheStrongestWishFirst) {
  // Bin 0 wants item 0 (9) and item 1 (8); bin 1 wants item 0 (7). Capacity 1 each.
  const std::vector<std::int64_t> preference = {9, 8, 7, 0}, load = {1, 1};
  EXPECT_EQ(assign_greedily({.bins = 2, .preference = preference, .load = load, .kind = {}, .capacity = 1}),
            (std::vector<std::uint32_t>{0, 1}));
}

TEST(Greedy, BreaksTiesByTheLighterBin) {
  const std::vector<std::int64_t> preference = {5, 5, 0, 0, 5, 5, 0, 0}, load = {10, 4, 3, 2};
  // Item 0 (heavier) first to bin 0, item 1 to the lighter bin 1, then 2 to bin 1 and 2's peer 3 to bin 0.
  EXPECT_EQ(assign_greedily({.bins = 2, .preference = preference, .load = load, .kind = {}, .capacity = 2}),
            (std::vector<std::uint32_t>{0, 1, 1, 0}));
}

TEST(Greedy, KeepsTheLoadLimitWhileSomethingFits) {
  const std::vector<std::int64_t> preference = {9, 8, 7, 0, 0, 0}, load = {6, 6, 1};
  EXPECT_EQ(
      assign_greedily(
          {.bins = 2, .preference = preference, .load = load, .kind = {}, .capacity = 3, .load_limit = 7}),
      (std::vector<std::uint32_t>{0, 1, 0}));
}

TEST(Greedy, KeepsItemsOfAKindApart) {
  const std::vector<std::int64_t> preference = {9, 9, 0, 0}, load = {1, 1};
  const std::vector<std::uint32_t> kind = {4, 4};
  EXPECT_EQ(assign_greedily({.bins = 2, .preference = preference, .load = load, .kind = kind, .capacity = 2}),
            (std::vector<std::uint32_t>{0, 1}));
}

RC_GTEST_PROP(GreedyProperty, EqualsPickingTheLargestOpenPairAgainAndAgain, ()) {
  const auto bins = *rc::gen::inRange<std::size_t>(1, 5);
  const auto capacity = *rc::gen::inRange<std::size_t>(1, 5);
  const auto items = *rc::gen::inRange<std::size_t>(1, bins * capacity + 1);
  // Distinct wishes, so that the order has no ties.
  std::vector<std::int64_t> preference(bins * items);
  std::iota(preference.begin(), preference.end(), 1);
  for (std::size_t i = preference.size(); i > 1; --i) {
    std::swap(preference[i - 1], preference[*rc::gen::inRange<std::size_t>(0, i)]);
  }
  std::vector<std::uint32_t> expected(items);
  std::vector<std::size_t> used(bins);
  std::vector<bool> placed(items);
  for (std::size_t round = 0; round < items; ++round) {
    std::int64_t best = 0;
    std::size_t best_bin = 0, best_item = 0;
    for (std::size_t b = 0; b < bins; ++b) {
      for (std::size_t i = 0; i < items; ++i) {
        if (!placed[i] && used[b] < capacity && preference[b * items + i] > best) {
          best = preference[b * items + i];
          best_bin = b;
          best_item = i;
        }
      }
    }
    placed[best_item] = true;
    ++used[best_bin];
    expected[best_item] = static_cast<std::uint32_t>(best_bin);
  }
  const std::vector<std::int64_t> load(items, 1);
  RC_ASSERT(assign_greedily(
                {.bins = bins, .preference = preference, .load = load, .kind = {}, .capacity = capacity}) ==
            expected);
}

TEST(Preference, CountsRowsByTheGpuATokenLivesOn) {
  const Topology topology{.nodes = 2, .gpus_per_node = 2};
  const std::vector<ExpertId> tokens = experts({0, 1, 1, 2, -1, 2});
  const std::vector<traffic::Segment> dp = {{.request = 0, .home = HomeId(3), .begin = 0, .count = 2},
                                            {.request = 1, .home = HomeId(0), .begin = 2, .count = 1}};
  EXPECT_EQ(rows_by_gpu({LayerId(0), 2, tokens, dp}, topology, Attention::kDataParallel, 3),
            (std::vector<std::int64_t>{0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 2, 1}));
  const std::vector<traffic::Segment> tp = {
      {.request = 0, .home = HomeId(1), .position = 5, .begin = 0, .count = 3}};
  const auto by_gpu = rows_by_gpu({LayerId(0), 2, tokens, tp}, topology, Attention::kTensorParallel, 3);
  EXPECT_EQ(by_gpu, (std::vector<std::int64_t>{0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1}));
  EXPECT_EQ(rows_by_node(by_gpu, topology, 3), (std::vector<std::int64_t>{0, 0, 0, 1, 2, 2}));
}

Problem problem(const Demand& demand, Topology topology, std::size_t slots_per_gpu) {
  return {.demand = demand, .topology = topology, .slots_per_gpu = slots_per_gpu, .objective = {}};
}

TEST(Patterns, PutsExpertsWhereTheirRequestsLive) {
  // Requests of GPU 3 use experts 0 and 1, those of GPU 0 experts 2 and 3; linear order is the wrong one.
  const FakeDemand demand(1, 4, 2, experts({0, 1, 0, 1, 2, 3}), {HomeId(3), HomeId(3), HomeId(0)});
  const Topology topology{.nodes = 2, .gpus_per_node = 2};
  const auto solution = patterns().place(problem(demand, topology, 1));
  ASSERT_TRUE(solution) << solution.error().message;
  std::vector<int> slots = ids(solution->placement.layer(0));
  std::sort(slots.begin(), slots.begin() + 2);
  std::sort(slots.begin() + 2, slots.end());
  EXPECT_EQ(slots, (std::vector<int>{2, 3, 0, 1}));
}

TEST(Patterns, GivesExtraSlotsToWhatANodeStillFetches) {
  // Both nodes use expert 0 most; node 0 also 1, node 1 also 2. One extra slot a node.
  const FakeDemand demand(1, 4, 1, experts({0, 0, 0, 1, 1, 0, 0, 2, 2, 2}),
                          {HomeId(0), HomeId(0), HomeId(0), HomeId(0), HomeId(0), HomeId(1), HomeId(1),
                           HomeId(1), HomeId(1), HomeId(1)});
  const auto solution = patterns().place(problem(demand, {.nodes = 2, .gpus_per_node = 1}, 3));
  ASSERT_TRUE(solution) << solution.error().message;
  std::vector<int> slots = ids(solution->placement.layer(0));
  std::sort(slots.begin(), slots.begin() + 3);
  std::sort(slots.begin() + 3, slots.end());
  // Node 0 takes 0 and 1 and then 2 or 3, which it never uses (2 by id); node 1 copies 0.
  EXPECT_EQ(slots, (std::vector<int>{0, 1, 2, 0, 2, 3}));
}

TEST(Patterns, EvensOutTheGpusOfANode) {
  // GPU 0's request wants both hot experts; one of them goes to GPU 1 all the same.
  const FakeDemand demand(1, 4, 1, experts({0, 0, 0, 1, 1, 1, 2, 3}), std::vector<HomeId>(8, HomeId(0)));
  const auto solution = patterns().place(problem(demand, {.nodes = 1, .gpus_per_node = 2}, 2));
  ASSERT_TRUE(solution) << solution.error().message;
  const std::vector<int> slots = ids(solution->placement.layer(0));
  EXPECT_NE((std::ranges::find(slots, 0) - slots.begin()) / 2,
            (std::ranges::find(slots, 1) - slots.begin()) / 2);
}

TEST(Patterns, TheLimitOnImbalanceMovesHotExpertsApart) {
  // All traffic is of node 0: without a limit it takes both hot experts.
  const FakeDemand demand(1, 4, 1, experts({0, 0, 0, 1, 1, 1, 2, 3}), std::vector<HomeId>(8, HomeId(0)));
  Problem one = problem(demand, {.nodes = 2, .gpus_per_node = 1}, 2);
  const auto node_of = [&](int expert) {
    const std::vector<int> slots = ids(patterns().place(one)->placement.layer(0));
    return (std::ranges::find(slots, expert) - slots.begin()) / 2;
  };
  EXPECT_EQ(node_of(0), node_of(1));
  one.max_imbalance = 1.25;
  EXPECT_NE(node_of(0), node_of(1));
}

RC_GTEST_PROP(PatternsProperty, IsCompleteDeterministicAndWithinCapacity, ()) {
  const Topology topology{.nodes = *rc::gen::inRange<std::size_t>(1, 4),
                          .gpus_per_node = *rc::gen::inRange<std::size_t>(1, 4)};
  const auto slots_per_gpu = *rc::gen::inRange<std::size_t>(1, 5);
  const auto count = *rc::gen::inRange<std::size_t>(1, topology.gpus() * slots_per_gpu + 1);
  std::vector<ExpertId> tokens;
  std::vector<HomeId> homes;
  for (int t = 0; t < 30; ++t) {
    tokens.push_back(ExpertId(*rc::gen::inRange<std::size_t>(0, count)));
    homes.push_back(HomeId(*rc::gen::inRange<std::size_t>(0, topology.gpus())));
  }
  const FakeDemand demand(2, count, 1, tokens, homes);
  Problem one = problem(demand, topology, slots_per_gpu);
  one.max_imbalance = *rc::gen::element(0.0, 1.0, 1.2);
  const auto alone = patterns().place(one);
  ThreadPool pool(2);
  one.pool = &pool;
  const auto threaded = patterns().place(one);
  RC_ASSERT(alone.has_value());
  RC_ASSERT(threaded.has_value());
  RC_ASSERT(alone->placement == threaded->placement);
  if (alone->placement.extra_slots() == 0) RC_ASSERT(testing::doubled_on_a_gpu(alone->placement, 0) == 0u);
}

}  // namespace
}  // namespace moesaic::placement
