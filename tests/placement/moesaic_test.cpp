#include <cmath>
#include <limits>
#include <numeric>

#include "core/balance.hpp"
#include "placement/algorithms.hpp"
#include "placement/partition_search.hpp"
#include "placement/planted_demand.hpp"
#include "traffic/score.hpp"

namespace moesaic::placement {
namespace {

using testing::PlantedDemand;

std::int64_t node_copies(const PlantedDemand& demand, const Placement& plan,
                         const traffic::Objective& objective) {
  std::int64_t copies = 0;
  for (std::size_t row = 0; row < plan.layers().size(); ++row) {
    copies +=
        traffic::score_layer(demand.tokens(row), plan.topology(), plan.experts(), plan.layer(row), objective)
            .dedup.node;
  }
  return copies;
}

TEST(Moesaic, SendsFarFewerCopiesThanLinearInsideTheLoadLimit) {
  const PlantedDemand demand({.layers = 3, .experts = 16, .homes = 8, .requests = 60});
  const Problem problem{.demand = demand,
                        .topology = {.nodes = 4, .gpus_per_node = 2},
                        .slots_per_gpu = 2,
                        .objective = {},
                        .max_imbalance = 1.3};
  const auto plan = moesaic().place(problem);
  ASSERT_TRUE(plan) << plan.error().message;
  const auto naive = linear().place(problem);
  EXPECT_LT(node_copies(demand, plan->placement, {}) * 10, node_copies(demand, naive->placement, {}) * 9);
  for (std::size_t row = 0; row < 3; ++row) {
    const auto t =
        traffic::score_layer(demand.tokens(row), problem.topology, 16, plan->placement.layer(row), {});
    std::vector<std::int64_t> nodes(4);
    for (std::size_t g = 0; g < 8; ++g) nodes[g / 2] += t.gpu_rows[g];
    EXPECT_LE(max_over_mean(nodes), 1.3) << row;
  }
}

RC_GTEST_PROP(Moesaic, PutsCopiesOfAnExpertOnDistinctGpusWhateverTheSlots, ()) {
  const Topology topology{.nodes = *rc::gen::elementOf(std::vector<std::size_t>{1, 2, 3}),
                          .gpus_per_node = *rc::gen::elementOf(std::vector<std::size_t>{1, 2, 3})};
  constexpr std::size_t kExperts = 10;
  const std::size_t least = (kExperts + topology.gpus() - 1) / topology.gpus();
  const std::size_t slots = *rc::gen::inRange<std::size_t>(least, kExperts + 1);
  const dispatch::Rule rule =
      *rc::gen::elementOf(std::vector(std::begin(dispatch::kRules), std::end(dispatch::kRules)));
  const PlantedDemand demand(
      {.layers = 1, .experts = kExperts, .homes = topology.gpus(), .requests = 8, .tokens = 10});
  const Problem problem{.demand = demand,
                        .topology = topology,
                        .slots_per_gpu = slots,
                        .objective = {.rule = rule},
                        .per_expert = *rc::gen::arbitrary<bool>()};
  const auto plan = moesaic().place(problem);
  RC_ASSERT(plan.has_value());
  for (std::size_t gpu = 0; gpu < topology.gpus(); ++gpu) {
    std::vector<ExpertId> on(
        plan->placement.layer(0).begin() + static_cast<std::ptrdiff_t>(gpu * slots),
        plan->placement.layer(0).begin() + static_cast<std::ptrdiff_t>((gpu + 1) * slots));
    std::ranges::sort(on);
    RC_ASSERT(std::ranges::adjacent_find(on) == on.end());
  }
}

RC_GTEST_PROP(Moesaic, KeepsTheLoadLimitOnNodesOrTheBestThatAnEvenStartAllows, (std::uint32_t seed)) {
  const double limit = *rc::gen::elementOf(std::vector{1.0, 1.02, 1.1, 1.4});
  const PlantedDemand demand(
      {.layers = 1, .experts = 12, .homes = 6, .requests = 10, .tokens = 12, .seed = seed});
  const Problem problem{.demand = demand,
                        .topology = {.nodes = 3, .gpus_per_node = 2},
                        .slots_per_gpu = 2,
                        .objective = {},
                        .max_imbalance = limit,
                        .per_expert = *rc::gen::arbitrary<bool>()};
  const auto plan = moesaic().place(problem);
  RC_ASSERT(plan.has_value());
  // In the units that the plan is made in, so that ties of the even start fall alike.
  const double all = std::accumulate(demand.loads().begin(), demand.loads().end(), 0.0);
  std::vector<std::int64_t> loads, nodes(3);
  for (const double load : demand.loads()) loads.push_back(std::llround(load / all * 0x1p40));
  const auto slots = plan->placement.layer(0);
  for (std::size_t s = 0; s < slots.size(); ++s) nodes[s / 4] += loads[index(slots[s])];
  const std::int64_t even = largest_load(loads, balanced_assignment(loads, 3), 3);
  const double mean = static_cast<double>(nodes[0] + nodes[1] + nodes[2]) / 3;
  RC_ASSERT(static_cast<double>(std::ranges::max(nodes)) <=
            std::max(limit * mean, static_cast<double>(even)) + 12);  // each load was rounded
}

TEST(Moesaic, ReplicasSaveCopiesUnderTheLocalRule) {
  const PlantedDemand demand({.layers = 2, .experts = 16, .homes = 4, .requests = 40});
  Problem problem{
      .demand = demand, .topology = {.nodes = 4, .gpus_per_node = 1}, .slots_per_gpu = 4, .objective = {}};
  std::int64_t before = std::numeric_limits<std::int64_t>::max();
  for (const std::size_t slots : {4U, 6U, 8U, 16U}) {
    problem.slots_per_gpu = slots;
    const auto plan = moesaic().place(problem);
    ASSERT_TRUE(plan) << plan.error().message;
    const std::int64_t copies = node_copies(demand, plan->placement, {});
    EXPECT_LT(copies, before) << slots;
    before = copies;
  }
  EXPECT_EQ(before, 0);  // every node holds every expert
}

TEST(Moesaic, MakesTheSameBytesAtOneAndTwoThreads) {
  const PlantedDemand demand({.layers = 4, .homes = 4});
  ThreadPool two(2);
  Problem problem{
      .demand = demand, .topology = {.nodes = 2, .gpus_per_node = 2}, .slots_per_gpu = 4, .objective = {}};
  const auto alone = moesaic().place(problem);
  problem.pool = &two;
  const auto together = moesaic().place(problem);
  ASSERT_TRUE(alone && together);
  EXPECT_EQ(alone->placement, together->placement);
}

}  // namespace
}  // namespace moesaic::placement
