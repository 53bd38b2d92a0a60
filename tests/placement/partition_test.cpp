// The exact gains and the search over them, against recomputation, the traffic reference and brute force.
#include "placement/partition.hpp"

#include <limits>
#include <numeric>

#include "placement/partition_search.hpp"
#include "placement/planted_demand.hpp"
#include "traffic/score.hpp"

namespace moesaic::placement {
namespace {

using testing::Planted;
using testing::PlantedDemand;

std::vector<std::uint32_t> iota(std::size_t count) {
  std::vector<std::uint32_t> all(count);
  std::iota(all.begin(), all.end(), 0u);
  return all;
}

PatternTable random_table(std::size_t items, std::size_t parts, std::size_t patterns, Pcg32& random) {
  PatternBuilder builder(items, parts);
  for (std::size_t p = 0; p < patterns; ++p) {
    auto all = iota(items);
    shuffle(std::span(all), random);
    all.resize(1 + random.below(static_cast<std::uint32_t>(std::min<std::size_t>(5, items))));
    std::ranges::sort(all);
    builder.add(all, random.below(static_cast<std::uint32_t>(parts)), 1 + random.below(3));
  }
  return builder.take();
}

std::vector<std::uint16_t> full_parts(std::size_t items, std::size_t parts, Pcg32& random) {
  std::vector<std::uint16_t> part(items);
  for (std::size_t e = 0; e < items; ++e) part[e] = static_cast<std::uint16_t>(e % parts);
  shuffle(std::span(part), random);
  return part;
}

TEST(PatternTable, MergesEqualTokensAndKeepsEveryRow) {
  PatternBuilder builder(5, 2);
  const std::vector<std::uint32_t> a = {0, 3}, b = {1};
  builder.add(a, 0, 1);
  builder.add(b, 0, 1);
  builder.add(a, 0, 2);
  builder.add(a, 1, 1);
  builder.add({}, 1, 7);
  const PatternTable table = builder.take();
  ASSERT_EQ(table.size(), 3u);
  EXPECT_EQ(table.weight, (std::vector<std::uint32_t>{3, 1, 1}));
  EXPECT_EQ(item_rows(table), (std::vector<std::int64_t>{4, 1, 0, 4, 0}));
}

TEST(PatternTable, ThinsEvenlyToTheTokensAskedFor) {
  const PlantedDemand demand({.requests = 10, .tokens = 100});
  const PatternTable table = token_patterns(demand.tokens(0), {.nodes = 2, .gpus_per_node = 2},
                                            Attention::kDataParallel, 16, {.max_tokens = 250});
  EXPECT_EQ(std::accumulate(table.weight.begin(), table.weight.end(), 0u), 250u);
}

RC_GTEST_PROP(Partition, EqualsTheTrafficReferenceAtNodesAndInsideThem, ()) {
  const auto seed = *rc::gen::arbitrary<std::uint32_t>();
  const bool dp = *rc::gen::arbitrary<bool>();
  const Topology topology{.nodes = 3, .gpus_per_node = 2};
  const Attention attention = dp ? Attention::kDataParallel : Attention::kTensorParallel;
  const PlantedDemand demand({.layers = 1,
                              .experts = 12,
                              .homes = topology.homes(attention),
                              .requests = 6,
                              .tokens = 9,
                              .seed = seed,
                              .missing = 0.1});
  Pcg32 random(seed);
  std::vector<ExpertId> slots;
  for (const std::uint16_t e : full_parts(12, 12, random)) slots.push_back(ExpertId(e));
  const auto expected = traffic::score_layer(demand.tokens(0), topology, 12, slots, {.attention = attention});

  const PatternTable sources = token_patterns(demand.tokens(0), topology, attention, 12, {});
  std::vector<std::uint16_t> gpu_of(12), node_of(12);
  for (std::size_t s = 0; s < 12; ++s) {
    gpu_of[index(slots[s])] = static_cast<std::uint16_t>(s / 2);
    node_of[index(slots[s])] = static_cast<std::uint16_t>(s / 4);
  }
  const std::vector<std::uint16_t> node_of_gpu = {0, 0, 1, 1, 2, 2}, index_of_gpu = {0, 1, 0, 1, 0, 1};
  RC_ASSERT(connectivity_cost(project(sources, iota(12), 12, node_of_gpu, 3), node_of) ==
            expected.dedup.node);
  std::int64_t gpu_copies = 0;
  for (std::size_t node = 0; node < 3; ++node) {
    std::vector<std::uint32_t> local(12, kLeftOut);
    std::vector<std::uint16_t> part;
    for (std::size_t e = 0; e < 12; ++e) {
      if (node_of[e] != node) continue;
      local[e] = static_cast<std::uint32_t>(part.size());
      part.push_back(gpu_of[e] % 2);
    }
    gpu_copies += connectivity_cost(project(sources, local, 4, index_of_gpu, 2), part);
  }
  RC_ASSERT(gpu_copies == expected.dedup.gpu);
}

RC_GTEST_PROP(Partition, TracksTheCostAndEveryGainThroughMovesAndSwaps, ()) {
  const auto seed = *rc::gen::arbitrary<std::uint32_t>();
  Pcg32 random(seed);
  const std::size_t items = 2 + random.below(9), parts = 2 + random.below(4);
  const PatternTable table = random_table(items, parts, 30, random);
  std::vector<std::uint16_t> part(items);
  for (auto& p : part) p = static_cast<std::uint16_t>(random.below(static_cast<std::uint32_t>(parts)));
  Partition partition(table, part);
  RC_ASSERT(partition.cost() == connectivity_cost(table, part));
  for (int step = 0; step < 25; ++step) {
    const std::size_t e = random.below(static_cast<std::uint32_t>(items)),
                      f = random.below(static_cast<std::uint32_t>(items));
    const std::size_t to = random.below(static_cast<std::uint32_t>(parts));
    std::int64_t promised = 0;
    const std::int64_t before = partition.cost();
    if (random.below(2) == 0 && part[e] != part[f]) {
      promised = partition.swap_delta(e, f);
      partition.swap(e, f);
      std::swap(part[e], part[f]);
    } else {
      promised = partition.move_delta(e, to);
      partition.move(e, to);
      part[e] = static_cast<std::uint16_t>(to);
    }
    RC_ASSERT(partition.cost() - before == promised);
    RC_ASSERT(partition.cost() == connectivity_cost(table, part));
  }
}

TEST(BalancedAssignment, FillsEveryPartAndBeatsHeaviestFirst) {
  const std::vector<std::int64_t> loads = {3, 3, 2, 2, 2, 0};  // heaviest first alone gives 3+2+2 | 3+2+0
  const auto part = balanced_assignment(loads, 2);
  EXPECT_EQ(std::ranges::count(part, 0), 3);
  EXPECT_EQ(largest_load(loads, part, 2), 6);
}

/// Cheapest assignment with full parts inside the limit, by trying all.
std::int64_t brute_force(const PatternTable& table, const Loads& loads, std::size_t parts) {
  std::vector<std::uint16_t> part(table.item_count);
  for (std::size_t e = 0; e < part.size(); ++e) part[e] = static_cast<std::uint16_t>(e * parts / part.size());
  std::int64_t best = std::numeric_limits<std::int64_t>::max();
  do {
    if (excess(loads, part, parts) == 0) best = std::min(best, connectivity_cost(table, part));
  } while (std::ranges::next_permutation(part).found);
  return best;
}

TEST(SearchPartition, FindsTheOptimumOfSmallCases) {
  for (std::uint32_t seed = 0; seed < 40; ++seed) {
    Pcg32 random(seed, 9);
    const std::size_t parts = 2 + seed % 2, items = parts == 2 ? 8 : 9;
    const PatternTable table = random_table(items, parts, 60, random);
    const auto load = item_rows(table);
    const auto balanced = balanced_assignment(load, parts);
    const Loads loads{.of_item = load, .limit = largest_load(load, balanced, parts) + random.below(20)};
    const std::vector<std::vector<std::uint16_t>> starts = {balanced,
                                                            demand_assignment(table, items / parts)};
    SearchStats stats;
    const auto found = search_partition(table, loads, starts, {}, random, &stats);
    EXPECT_EQ(excess(loads, found, parts), 0) << seed;
    EXPECT_EQ(connectivity_cost(table, found), brute_force(table, loads, parts)) << seed;
    EXPECT_EQ(stats.starts, 2u);
  }
}

TEST(SearchPartition, ReturnsTheLeastExcessWhenNothingFits) {
  Pcg32 random(3);
  const PatternTable table = random_table(4, 2, 20, random);
  const std::vector<std::int64_t> load = {10, 1, 1, 1};
  const std::vector<std::vector<std::uint16_t>> starts = {{0, 0, 1, 1}};
  const auto found = search_partition(table, {.of_item = load, .limit = 10}, starts, {}, random);
  EXPECT_EQ(excess({.of_item = load, .limit = 10}, found, 2), 1);
}

}  // namespace
}  // namespace moesaic::placement
