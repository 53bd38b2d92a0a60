#include <algorithm>
#include <set>

#include "placement/algorithms.hpp"
#include "placement/fake_demand.hpp"

namespace moesaic::placement {
namespace {

using testing::FakeDemand;
using testing::ids;

Problem problem(const Demand& demand, Topology topology, std::size_t slots_per_gpu, std::uint64_t seed = 0) {
  return {
      .demand = demand, .topology = topology, .slots_per_gpu = slots_per_gpu, .objective = {}, .seed = seed};
}

std::vector<int> place(const Algorithm& algorithm, std::size_t experts, Topology topology,
                       std::size_t slots_per_gpu) {
  const FakeDemand demand(1, experts, std::vector<double>(experts, 1));
  const auto solution = algorithm.place(problem(demand, topology, slots_per_gpu));
  EXPECT_TRUE(solution) << solution.error().message;
  return ids(solution->placement.layer(0));
}

TEST(RoundRobin, DealsExpertsOverTheGpus) {
  EXPECT_EQ(place(round_robin(), 8, {.nodes = 2, .gpus_per_node = 2}, 2),
            (std::vector<int>{0, 4, 1, 5, 2, 6, 3, 7}));
}

TEST(RoundRobin, PutsACopyOnTheNextGpuThatHasNone) {
  EXPECT_EQ(place(round_robin(), 4, {.nodes = 1, .gpus_per_node = 4}, 2),
            (std::vector<int>{0, 3, 1, 0, 2, 1, 3, 2}));
}

TEST(Linear, KeepsIdOrderAndRepeatsFromZero) {
  EXPECT_EQ(place(linear(), 6, {.nodes = 2, .gpus_per_node = 2}, 2),
            (std::vector<int>{0, 1, 2, 3, 4, 5, 0, 1}));
}

TEST(Algorithms, AreFoundByNameAndTheErrorListsThem) {
  for (const Algorithm* algorithm : algorithms()) {
    const auto found = find_algorithm(algorithm->name());
    ASSERT_TRUE(found);
    EXPECT_EQ(*found, algorithm);
    EXPECT_FALSE(algorithm->summary().empty());
    EXPECT_FALSE(algorithm->source().empty());
  }
  const auto none = find_algorithm("best");
  ASSERT_FALSE(none);
  EXPECT_NE(none.error().message.find("linear, round-robin, random, eplb, deepseek-vec, trtllm"),
            std::string::npos)
      << none.error().message;
}

TEST(Random, DependsOnTheSeedAndTheLayerAlone) {
  const FakeDemand demand(2, 64, std::vector<double>(128, 1));
  ThreadPool pool(2);
  const auto with = [&](std::uint64_t seed, ThreadPool* threads) {
    Problem one = problem(demand, {.nodes = 2, .gpus_per_node = 4}, 9, seed);
    one.pool = threads;
    return random_placement().place(one)->placement;
  };
  EXPECT_EQ(with(1, nullptr), with(1, &pool));
  EXPECT_NE(with(1, nullptr), with(2, nullptr));
  EXPECT_FALSE(std::ranges::equal(with(1, nullptr).layer(0), with(1, nullptr).layer(1)));
}

TEST(Random, IsUniformWithoutExtraSlots) {
  // Two experts share one of two GPUs with probability 1/3 when four experts fall on two pairs of slots.
  const FakeDemand demand(1, 4, std::vector<double>(4, 1));
  int together = 0;
  constexpr int kSeeds = 6000;
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    const auto solution =
        random_placement().place(problem(demand, {.nodes = 1, .gpus_per_node = 2}, 2, seed));
    ASSERT_TRUE(solution);
    const std::vector<int> slots = ids(solution->placement.layer(0));
    const auto gpu = [&](int expert) { return (std::ranges::find(slots, expert) - slots.begin()) / 2; };
    together += gpu(0) == gpu(1) ? 1 : 0;
  }
  EXPECT_NEAR(together, kSeeds / 3, 5 * 37);  // five standard deviations
}

/// Every load-only algorithm fills every slot with every expert; the two baselines also keep copies apart.
RC_GTEST_PROP(BaselineProperty, PlacementsAreCompleteAndCopiesApart, ()) {
  const Topology topology{.nodes = *rc::gen::inRange<std::size_t>(1, 4),
                          .gpus_per_node = *rc::gen::inRange<std::size_t>(1, 4)};
  const auto slots_per_gpu = *rc::gen::inRange<std::size_t>(1, 6);
  const std::size_t slots = topology.gpus() * slots_per_gpu;
  const auto experts = *rc::gen::inRange<std::size_t>(1, slots + 1);
  const FakeDemand demand(2, experts, std::vector<double>(2 * experts, 1));
  for (const Algorithm* algorithm : {&linear(), &round_robin(), &random_placement(), &eplb_algorithm()}) {
    const auto solution = algorithm->place(problem(demand, topology, slots_per_gpu, 5));
    RC_ASSERT(solution.has_value());  // Placement::make checks that every expert has a slot
    std::vector<std::size_t> copies(experts);
    for (const ExpertId expert : solution->placement.layer(1)) ++copies[index(expert)];
    const auto [least, most] = std::ranges::minmax(copies);
    if (algorithm != &eplb_algorithm()) RC_ASSERT(most <= least + 1);
    if (algorithm == &random_placement() && most <= topology.gpus()) {
      RC_ASSERT(testing::doubled_on_a_gpu(solution->placement, 1) == 0u);
    }
  }
}

}  // namespace
}  // namespace moesaic::placement
