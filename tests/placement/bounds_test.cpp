#include "placement/bounds.hpp"

#include <limits>
#include <numeric>

#include "placement/algorithms.hpp"
#include "placement/partition.hpp"
#include "placement/planted_demand.hpp"

namespace moesaic::placement {
namespace {

using testing::PlantedDemand;

/// Rows of 6 experts from 3 nodes, every row a pattern of its own.
PatternTable random_rows(std::uint32_t seed) {
  Pcg32 random(seed);
  PatternBuilder builder(6, 3);
  for (int row = 0; row < 80; ++row) {
    const std::uint32_t item = random.below(6);
    builder.add(std::span(&item, 1), random.below(3), 1);
  }
  return builder.take();
}

TEST(RowCopiesBound, IsTheOptimumOfBruteForceWithoutReplicas) {
  for (std::uint32_t seed = 0; seed < 20; ++seed) {
    const PatternTable table = random_rows(seed);
    std::vector<std::uint16_t> node = {0, 0, 1, 1, 2, 2};
    std::int64_t best = std::numeric_limits<std::int64_t>::max();
    do best = std::min(best, connectivity_cost(table, node));
    while (std::ranges::next_permutation(node).found);
    EXPECT_EQ(row_copies_bound(table, 1, 2), best) << seed;
  }
}

TEST(RowCopiesBound, NeverExceedsBruteForceWithReplicas) {
  for (std::uint32_t seed = 0; seed < 10; ++seed) {
    const PatternTable table = random_rows(seed);
    // Three slots a node; a row stays at home exactly if its node holds its expert.
    std::vector<std::vector<bool>> held(3, {true, true, true, false, false, false});
    std::int64_t best = std::numeric_limits<std::int64_t>::max();
    for (auto& a = held[0]; true;) {
      const auto covered = [&](std::size_t e) { return held[0][e] || held[1][e] || held[2][e]; };
      bool all = true;
      for (std::size_t e = 0; e < 6; ++e) all = all && covered(e);
      std::int64_t cost = 0;
      for (std::size_t p = 0; p < table.size(); ++p) {
        if (!held[table.home[p]][table.items_of(p)[0]]) cost += table.weight[p];
      }
      if (all) best = std::min(best, cost);
      if (std::prev_permutation(a.begin(), a.end())) continue;
      if (std::prev_permutation(held[1].begin(), held[1].end())) continue;
      if (!std::prev_permutation(held[2].begin(), held[2].end())) break;
    }
    EXPECT_LE(row_copies_bound(table, 1, 3), best) << seed;
    EXPECT_GE(row_copies_bound(table, 1, 3), 0) << seed;
  }
}

TEST(RowCopiesBound, ProvesThePlanWhereLimitsDoNotBind) {
  const PlantedDemand demand({.layers = 2, .experts = 12, .top_k = 1, .homes = 4, .requests = 40});
  Problem problem{.demand = demand,
                  .topology = {.nodes = 4, .gpus_per_node = 1},
                  .slots_per_gpu = 3,
                  .objective = {},
                  .max_imbalance = 4};
  const auto plan = moesaic().place(problem);
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_EQ(plan->proof, Proof::kProven);
  ASSERT_EQ(plan->notes.size(), 1u);
  EXPECT_NE(plan->notes[0].find("proven"), std::string::npos) << plan->notes[0];

  problem.max_imbalance = 1.0;  // balance is bought with copies: no longer the bound
  const auto limited = moesaic().place(problem);
  ASSERT_TRUE(limited) << limited.error().message;
  EXPECT_EQ(limited->proof, Proof::kHeuristic);
}

}  // namespace
}  // namespace moesaic::placement
