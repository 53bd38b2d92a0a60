#include "placement/replan.hpp"

#include <algorithm>

#include "core/random.hpp"
#include "placement/algorithms.hpp"
#include "placement/fake_demand.hpp"
#include "placement/planted_demand.hpp"

namespace moesaic::placement {
namespace {

std::vector<ExpertId> random_layer(std::size_t experts, std::size_t slots, Pcg32& random) {
  std::vector<ExpertId> layer;
  for (std::size_t s = 0; s < slots; ++s) {
    layer.push_back(ExpertId(s < experts ? s : random.below(static_cast<std::uint32_t>(experts))));
  }
  shuffle(std::span(layer), random);
  return layer;
}

std::vector<int> sorted_gpu(const std::vector<ExpertId>& layer, std::size_t gpu, std::size_t per_gpu) {
  std::vector<int> held = testing::ids(std::span(layer).subspan(gpu * per_gpu, per_gpu));
  std::ranges::sort(held);
  return held;
}

TEST(Chains, AnyOrderOfThemEndsAtTheGoalAndNeverLosesAnExpert) {
  Pcg32 random(1, 2);
  for (int round = 0; round < 200; ++round) {
    const std::size_t gpus = 2 + random.below(5), per_gpu = 1 + random.below(6);
    const std::size_t slots = gpus * per_gpu, experts = 1 + random.below(static_cast<std::uint32_t>(slots));
    std::vector<ExpertId> layer = random_layer(experts, slots, random);
    const std::vector<ExpertId> from = layer, to = random_layer(experts, slots, random);
    std::vector<Chain> all = chains(from, to, gpus);
    shuffle(std::span(all), random);
    std::size_t changes = 0;
    for (const Chain& chain : all) {
      changes += chain.size();
      for (const Change& change : chain) {
        const auto gpu = std::span(layer).subspan(change.gpu * per_gpu, per_gpu);
        const auto slot = std::ranges::find(gpu, change.out);
        ASSERT_NE(slot, gpu.end());
        *slot = change.in;
      }
      for (std::size_t e = 0; e < experts; ++e) ASSERT_GT(std::ranges::count(layer, ExpertId(e)), 0);
    }
    for (std::size_t g = 0; g < gpus; ++g)
      EXPECT_EQ(sorted_gpu(layer, g, per_gpu), sorted_gpu(to, g, per_gpu));
    const Topology topology{.nodes = 1, .gpus_per_node = gpus};
    const auto a = Placement::make(topology, {LayerId(0)}, experts, per_gpu, from);
    const auto b = Placement::make(topology, {LayerId(0)}, experts, per_gpu, to);
    ASSERT_TRUE(a && b);
    EXPECT_EQ(changes, transfers(*a, *b).slots);
  }
}

TEST(Chains, OfAPlacementToItselfThereAreNone) {
  Pcg32 random(3, 4);
  const std::vector<ExpertId> layer = random_layer(6, 8, random);
  EXPECT_TRUE(chains(layer, layer, 4).empty());
}

class ReplanPlanted : public ::testing::Test {
 protected:
  ReplanPlanted()
      : demand_({.layers = 3, .experts = 16, .homes = 4, .requests = 40}),
        problem_{.demand = demand_,
                 .topology = {.nodes = 4, .gpus_per_node = 1},
                 .slots_per_gpu = 4,
                 .objective = {},
                 .max_imbalance = 10},  // no limit binds: the gain is copies alone
        from_(linear().place(problem_)->placement),
        goal_(moesaic().place(problem_)->placement) {
    problem_.from = &from_;
  }

  std::int64_t copies(const Placement& placement) const {
    std::int64_t sum = 0;
    for (std::size_t row = 0; row < 3; ++row) {
      const auto layer = demand_.layer(row);
      const ModelShape& shape = demand_.shape();
      sum += traffic::score_layer(layer->view(shape.layers[row], shape.top_k), problem_.topology,
                                  shape.experts, placement.layer(row), {})
                 .dedup.node;
    }
    return sum;
  }

  testing::PlantedDemand demand_;
  Problem problem_;
  Placement from_, goal_;
};

TEST_F(ReplanPlanted, NoMovesChangeNothing) {
  const auto none = replan(problem_, goal_, 0);
  ASSERT_TRUE(none) << none.error().message;
  EXPECT_EQ(none->placement, from_);
  EXPECT_EQ(none->moves, 0u);
}

TEST_F(ReplanPlanted, EnoughMovesAreAsGoodAsTheGoal) {
  const auto all = replan(problem_, goal_, 1000);
  ASSERT_TRUE(all) << all.error().message;
  EXPECT_LE(copies(all->placement), copies(goal_));
  EXPECT_EQ(all->moves, all->moves_to_goal);
  EXPECT_EQ(transfers(from_, all->placement).slots, all->moves);
  EXPECT_DOUBLE_EQ(all->curve.back().gain, 1);
}

TEST_F(ReplanPlanted, KeepsItsBudgetAndMoreMovesAreNoWorse) {
  const auto all = replan(problem_, goal_, 1000);
  ASSERT_TRUE(all) << all.error().message;
  std::int64_t before = copies(from_);
  for (const std::size_t budget : {2U, 6U, 12U, 24U, 48U}) {
    const auto some = replan(problem_, goal_, budget);
    ASSERT_TRUE(some) << some.error().message;
    EXPECT_LE(some->moves, budget);
    EXPECT_EQ(transfers(from_, some->placement).slots, some->moves);
    EXPECT_LE(copies(some->placement), before) << budget;
    before = copies(some->placement);
  }
  EXPECT_LT(before, copies(from_));
}

TEST_F(ReplanPlanted, TheFirstMovesGainMost) {
  const auto all = replan(problem_, goal_, 1000);
  ASSERT_TRUE(all) << all.error().message;
  for (std::size_t i = 1; i < all->curve.size(); ++i) {
    EXPECT_GT(all->curve[i].moves, all->curve[i - 1].moves);
    const double line = static_cast<double>(all->curve[i].moves) / static_cast<double>(all->moves_to_goal);
    EXPECT_GE(all->curve[i].gain, line - 1e-9);
  }
}

TEST_F(ReplanPlanted, SameBytesAtOneAndTwoThreads) {
  ThreadPool pool(2);
  Problem threaded = problem_;
  threaded.pool = &pool;
  EXPECT_EQ(replan(problem_, goal_, 10)->placement, replan(threaded, goal_, 10)->placement);
}

TEST_F(ReplanPlanted, WithReplicasCopiesComeAndGo) {
  Problem more = problem_;
  more.slots_per_gpu = 6;
  more.from = nullptr;
  const Placement from = linear().place(more)->placement, goal = moesaic().place(more)->placement;
  more.from = &from;
  const auto all = replan(more, goal, 1000);
  ASSERT_TRUE(all) << all.error().message;
  EXPECT_LT(copies(all->placement), copies(from));
  const auto some = replan(more, goal, 5);
  ASSERT_TRUE(some) << some.error().message;
  EXPECT_LE(some->moves, 5u);
}

}  // namespace
}  // namespace moesaic::placement
