#include "core/balance.hpp"
#include "placement/algorithms.hpp"
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
