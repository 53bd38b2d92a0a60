#include "placement/partition_front.hpp"

#include <limits>

#include "placement/algorithms.hpp"
#include "placement/moesaic_layer.hpp"
#include "placement/partition_search.hpp"
#include "placement/planted_demand.hpp"
#include "placement/unseen_loads.hpp"

namespace moesaic::placement {
namespace {

constexpr std::size_t kSteps = PartitionFront::kSteps;
using Items = std::vector<std::uint16_t>;

TEST(PartitionFront, KeepsTheCheapestAssignmentOfEachStep) {
  PartitionFront front(100);
  const Items first{0, 1}, second{1, 0}, third{1, 1};
  const auto offer = [&](std::int64_t copies, std::int64_t heaviest, const Items& items) {
    front.offer(copies, std::vector<std::int64_t>{80, heaviest}, items);
  };
  offer(9, 104, first);  // 4 hundredths above the most even
  offer(7, 104, second);
  offer(8, 104, third);
  offer(3, 99, third);  // more even than thought possible
  offer(1, 400, first);
  EXPECT_EQ(front.step(4).copies, 7);
  EXPECT_EQ(front.step(4).part_of_item, second);
  EXPECT_EQ(front.step(0).part_of_item, third);
  for (std::size_t s = 1; s < kSteps; ++s) EXPECT_EQ(front.step(s).part_of_item.empty(), s != 4) << s;
}

TEST(PartitionFront, IsMetOnTheWayOfASearch) {
  const testing::PlantedDemand demand({.layers = 1, .experts = 12, .homes = 3, .requests = 20});
  const PatternTable table =
      token_patterns(demand.tokens(0), {.nodes = 3, .gpus_per_node = 1}, Attention::kDataParallel, 12, {});
  const std::vector<std::int64_t> loads = item_rows(table);
  const std::vector<Items> starts{balanced_assignment(loads, 3)};
  PartitionFront front(largest_load(loads, starts[0], 3));
  Pcg32 random(1);
  const Loads limits{.of_item = loads, .limit = 2 * largest_load(loads, starts[0], 3)};
  const Items best = search_partition(table, limits, starts, {.front = &front}, random);
  EXPECT_FALSE(front.step(0).part_of_item.empty());  // the start
  std::int64_t least = std::numeric_limits<std::int64_t>::max();
  for (std::size_t s = 0; s < kSteps; ++s) {
    const PartitionFront::Point& point = front.step(s);
    if (point.part_of_item.empty()) continue;
    EXPECT_EQ(point.copies, connectivity_cost(table, point.part_of_item)) << s;
    least = std::min(least, point.copies);
  }
  EXPECT_LE(least, connectivity_cost(table, best));
}

RC_GTEST_PROP(ShareBudget, IsKeptAndNothingWithinItSendsLess, ()) {
  constexpr std::size_t kLayers = 3, kChoices = 4;
  std::vector<std::int64_t> copies(kLayers * kSteps, -1);
  std::vector<double> imbalance(copies.size());
  for (std::size_t layer = 0; layer < kLayers; ++layer) {
    for (std::size_t c = 0; c < kChoices; ++c) {
      if (c > 0 && *rc::gen::arbitrary<bool>()) continue;
      copies[layer * kSteps + 7 * c] = *rc::gen::inRange(0, 100);
      imbalance[layer * kSteps + 7 * c] = 1 + 0.01 * *rc::gen::inRange(0, 50);
    }
  }
  const double budget = 1 + 0.01 * *rc::gen::inRange(0, 50);
  const std::vector<std::size_t> chosen = share_budget(copies, imbalance, budget);
  const auto sums = [&](const std::vector<std::size_t>& steps) {
    std::pair<std::int64_t, double> sum{0, 0};
    for (std::size_t layer = 0; layer < kLayers; ++layer) {
      sum.first += copies[layer * kSteps + steps[layer]];
      sum.second += imbalance[layer * kSteps + steps[layer]];
    }
    return sum;
  };
  const auto [sent, uneven] = sums(chosen);
  bool feasible = false;
  for (std::size_t code = 0; code < kChoices * kChoices * kChoices; ++code) {
    const std::vector<std::size_t> other{7 * (code % 4), 7 * (code / 4 % 4), 7 * (code / 16)};
    bool exists = true;
    for (std::size_t layer = 0; layer < kLayers; ++layer)
      exists = exists && copies[layer * kSteps + other[layer]] >= 0;
    if (!exists) continue;
    const auto [other_sent, other_uneven] = sums(other);
    if (other_uneven > kLayers * budget - 1e-9) continue;
    feasible = true;
    const double unused = (kLayers * budget - other_uneven) / kLayers;
    RC_ASSERT(!(unused >= 1e-4 && other_sent < sent));
  }
  if (feasible) RC_ASSERT(uneven <= kLayers * budget + 1e-9);
}

TEST(UnseenLoads, AreThoseOfPartsOfTheRequests) {
  const std::vector<ExpertId> experts{ExpertId(0),    ExpertId(1), ExpertId(0),
                                      kMissingExpert, ExpertId(2), ExpertId(0)};
  const std::vector<traffic::Segment> one{{.request = 5, .home = {}, .position = 0, .begin = 0, .count = 3}};
  const UnseenLoads alone({LayerId(0), 2, experts, one}, 3);
  EXPECT_DOUBLE_EQ(alone.imbalance(Items{0, 1, 1}, 2), 3.0 * 2 / 5);
  EXPECT_DOUBLE_EQ(alone.imbalance(Items{0, 0, 0}, 1), 1);
  // Two kinds of requests, each with experts of its own: even on all of them, uneven on a part.
  std::vector<ExpertId> kinds;
  std::vector<traffic::Segment> many;
  for (std::uint32_t r = 0; r < 40; ++r) {
    many.push_back({.request = r, .home = {}, .position = 0, .begin = r, .count = 1});
    kinds.push_back(ExpertId(static_cast<std::uint16_t>(2 * (r % 2))));
    kinds.push_back(ExpertId(static_cast<std::uint16_t>(2 * (r % 2) + 1)));
  }
  const UnseenLoads mixed({LayerId(0), 2, kinds, many}, 4);
  EXPECT_DOUBLE_EQ(mixed.imbalance(Items{0, 1, 0, 1}, 2), 1);
  EXPECT_GT(mixed.imbalance(Items{0, 0, 1, 1}, 2), 1.02);
  constexpr std::uint16_t kElsewhere = UnseenLoads::kElsewhere;
  EXPECT_DOUBLE_EQ(mixed.imbalance(Items{0, 1, kElsewhere, kElsewhere}, 2), 1);
  EXPECT_DOUBLE_EQ(mixed.imbalance(Items{0, kElsewhere, kElsewhere, kElsewhere}, 2), 2);
}

TEST(UnseenLoads, AreNoMoreUnevenForFewerRequests) {
  // Requests of one expert each, all alike likely: what is uneven is chance, and falls with a part's size.
  const auto imbalance = [](std::uint32_t requests) {
    std::vector<ExpertId> experts;
    std::vector<traffic::Segment> segments;
    for (std::uint32_t r = 0; r < requests; ++r) {
      segments.push_back({.request = r, .home = {}, .position = 0, .begin = r, .count = 1});
      experts.push_back(ExpertId(static_cast<std::uint16_t>(r % 4)));
    }
    return UnseenLoads({LayerId(0), 1, experts, segments}, 4).imbalance(Items{0, 1, 2, 3}, 4);
  };
  const double hundreds = imbalance(400);
  for (const std::uint32_t few : {8u, 40u, 200u}) EXPECT_NEAR(imbalance(few), hundreds, 0.06) << few;
  EXPECT_GT(hundreds, 1.1);
  EXPECT_LT(imbalance(8'000), 1.1);  // quarters of 2,000
}

TEST(Moesaic, GpusOfANodeAreMoreEvenThanUnderALimit) {
  const testing::PlantedDemand demand({.layers = 4, .experts = 32, .homes = 4, .requests = 60});
  Problem problem{
      .demand = demand, .topology = {.nodes = 2, .gpus_per_node = 2}, .slots_per_gpu = 8, .objective = {}};
  const auto unevenness = [&] {  // of the GPUs in their nodes, on unseen requests
    const auto plan = moesaic().place(problem);
    double sum = 0;
    for (std::size_t row = 0; row < 4; ++row) {
      const UnseenLoads unseen(demand.tokens(row), 32);
      for (std::size_t node = 0; node < 2; ++node) {
        Items gpu_of(32, UnseenLoads::kElsewhere);
        for (std::size_t s = node * 16; s < node * 16 + 16; ++s)
          gpu_of[index(plan->placement.layer(row)[s])] = static_cast<std::uint16_t>(s / 8 % 2);
        sum += unseen.imbalance(gpu_of, 2);
      }
    }
    return sum;
  };
  const double shared = unevenness();
  problem.max_imbalance = 1.3;
  EXPECT_LT(shared, unevenness());
}

TEST(Moesaic, KeepsTheMeanImbalanceThatItIsGivenAndSendsLessForMore) {
  const testing::PlantedDemand demand({.layers = 4, .experts = 32, .homes = 4, .requests = 60});
  Problem problem{
      .demand = demand, .topology = {.nodes = 4, .gpus_per_node = 1}, .slots_per_gpu = 8, .objective = {}};
  std::vector<std::int64_t> sent;
  for (const double budget : {1.08, 1.12, 1.4}) {
    problem.mean_imbalance = budget;
    const auto plan = moesaic().place(problem);
    double imbalance = 0;
    std::int64_t copies = 0;
    for (std::size_t row = 0; row < 4; ++row) {
      Items node_of(32);
      for (std::size_t s = 0; s < 32; ++s)
        node_of[index(plan->placement.layer(row)[s])] = static_cast<std::uint16_t>(s / 8);
      imbalance += UnseenLoads(demand.tokens(row), 32).imbalance(node_of, 4) / 4;
      copies += connectivity_cost(
          token_patterns(demand.tokens(row), problem.topology, Attention::kDataParallel, 32, {}), node_of);
    }
    EXPECT_LE(imbalance, budget + 1e-6);
    sent.push_back(copies);
  }
  EXPECT_GT(sent[0], sent[1]);
  EXPECT_GE(sent[1], sent[2]);
}

TEST(LayerFront, HoldsThePricesOfItsAssignments) {
  const testing::PlantedDemand demand({.layers = 1, .experts = 12, .homes = 3, .requests = 30});
  const Problem problem{
      .demand = demand, .topology = {.nodes = 3, .gpus_per_node = 1}, .slots_per_gpu = 4, .objective = {}};
  ASSERT_TRUE(shares_budget(problem));
  const LayerFront front = layer_front(problem, 0, *demand.layer(0));
  const PatternTable table =
      token_patterns(demand.tokens(0), problem.topology, Attention::kDataParallel, 12, {});
  const UnseenLoads unseen(demand.tokens(0), 12);
  std::size_t points = 0;
  for (std::size_t s = 0; s < kSteps; ++s) {
    if (front.copies[s] < 0) continue;
    ++points;
    EXPECT_EQ(front.copies[s], connectivity_cost(table, front.node_of_expert[s]));
    EXPECT_EQ(front.imbalance[s], unseen.imbalance(front.node_of_expert[s], 3));
  }
  EXPECT_GT(points, 1u);
}

}  // namespace
}  // namespace moesaic::placement
