#include "placement/transfers.hpp"

#include <algorithm>

#include "placement/algorithms.hpp"
#include "placement/fake_demand.hpp"

namespace moesaic::placement {
namespace {

Placement placement(std::vector<std::size_t> slots, std::size_t experts = 4,
                    Topology topology = {.nodes = 2, .gpus_per_node = 2}) {
  std::vector<ExpertId> ids;
  for (const std::size_t e : slots) ids.push_back(ExpertId(e));
  const std::size_t per_gpu = ids.size() / topology.gpus();
  auto made = Placement::make(topology, {LayerId(0)}, experts, per_gpu, std::move(ids));
  EXPECT_TRUE(made);
  return *std::move(made);
}

TEST(Transfers, CountExpertsThatAGpuDidNotHold) {
  const Placement from = placement({0, 1, 2, 3, 0, 1, 2, 3});
  EXPECT_EQ(transfers(from, from).slots, 0u);
  const Placement reordered = placement({1, 0, 3, 2, 0, 1, 2, 3});
  EXPECT_EQ(transfers(from, reordered).slots, 0u);
  const Placement inside = placement({2, 1, 0, 3, 0, 1, 2, 3});
  EXPECT_EQ(transfers(from, inside).slots, 2u);
  EXPECT_EQ(transfers(from, inside).inter_node, 0u);
}

TEST(Transfers, KnowWhichCrossNodes) {
  const Placement from = placement({0, 1, 2, 3});
  const Transfers moved = transfers(from, placement({2, 1, 0, 3}));
  EXPECT_EQ(moved.slots, 2u);
  EXPECT_EQ(moved.inter_node, 2u);
  EXPECT_EQ(transfers(from, placement({1, 0, 2, 3})).inter_node, 0u);
}

TEST(Transfers, KeptSlotsHoldTheSameExpertsAndStayWhereTheyCan) {
  const Placement from = placement({0, 1, 2, 3, 0, 1, 2, 3});
  const Placement to = placement({1, 2, 3, 0, 1, 0, 3, 2});
  const Placement kept = keep_slots(from, to);
  EXPECT_EQ(testing::ids(kept.layer(0)), (std::vector<int>{2, 1, 0, 3, 0, 1, 2, 3}));
}

TEST(Transfers, ADoubledExpertKeepsBothSlots) {
  const Placement from = placement({0, 0, 1, 2, 3, 1, 2, 3});
  const Placement to = placement({0, 0, 1, 2, 3, 1, 2, 3});
  EXPECT_EQ(keep_slots(from, to), to);
}

TEST(RunningPlacement, RefusesAPlanOfAnotherTopologyOrModel) {
  const testing::FakeDemand demand(1, 4, std::vector<double>{4, 3, 2, 1});
  const Placement other = placement({0, 1, 2, 3}, 4, {.nodes = 1, .gpus_per_node = 4});
  Problem problem{.demand = demand,
                  .topology = {.nodes = 2, .gpus_per_node = 2},
                  .slots_per_gpu = 1,
                  .objective = {},
                  .from = &other};
  const auto topology = running_placement(problem);
  ASSERT_FALSE(topology);
  EXPECT_NE(topology.error().message.find("2 x 2 with 1"), std::string::npos) << topology.error().message;
  const testing::FakeDemand wider(1, 8, std::vector<double>(8, 1.0));
  Problem model{.demand = wider,
                .topology = {.nodes = 1, .gpus_per_node = 4},
                .slots_per_gpu = 1,
                .objective = {},
                .from = &other};
  const auto experts = running_placement(model);
  ASSERT_FALSE(experts);
  EXPECT_NE(experts.error().message.find("different models"), std::string::npos);
}

double largest_gpu(const Placement& placement, const std::vector<double>& loads) {
  std::vector<double> gpus(placement.topology().gpus());
  for (std::size_t s = 0; s < placement.slots(); ++s) {
    const ExpertId e = placement.layer(0)[s];
    gpus[s / placement.slots_per_gpu()] +=
        loads[index(e)] / static_cast<double>(std::ranges::count(placement.layer(0), e));
  }
  return std::ranges::max(gpus);
}

TEST(Swift, SwapsBetweenHeavyAndLightGpus) {
  const std::vector<double> loads = {40, 40, 1, 1, 1, 1, 1, 1};
  const testing::FakeDemand demand(1, 8, loads);
  const Problem problem{
      .demand = demand, .topology = {.nodes = 1, .gpus_per_node = 4}, .slots_per_gpu = 2, .objective = {}};
  const auto plan = swift().place(problem);
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_DOUBLE_EQ(largest_gpu(plan->placement, loads), 41);
  const auto start = linear().place(problem);
  EXPECT_EQ(transfers(start->placement, plan->placement).slots, 2u);
}

TEST(Swift, KeepsWhatRunsWhenLittleIsToBeWon) {
  const testing::FakeDemand demand(1, 4, std::vector<double>{10, 10, 10, 10.2});
  const Problem problem{
      .demand = demand, .topology = {.nodes = 1, .gpus_per_node = 2}, .slots_per_gpu = 2, .objective = {}};
  const auto plan = swift().place(problem);
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_EQ(plan->placement, linear().place(problem)->placement);
  EXPECT_EQ(plan->notes.size(), 1u);
}

TEST(VllmEplb, HasEplbsExpertsOnEveryGpuAndMovesNoMore) {
  const std::vector<double> loads = {40, 30, 20, 10, 9, 8, 7, 6};
  const testing::FakeDemand demand(1, 8, loads);
  const Problem problem{
      .demand = demand, .topology = {.nodes = 2, .gpus_per_node = 2}, .slots_per_gpu = 3, .objective = {}};
  const auto start = linear().place(problem), plain = eplb_algorithm().place(problem);
  const auto kept = vllm_eplb().place(problem);
  ASSERT_TRUE(start && plain && kept);
  for (std::size_t g = 0; g < 4; ++g) {
    const auto ours = kept->placement.layer(0).subspan(g * 3, 3),
               theirs = plain->placement.layer(0).subspan(g * 3, 3);
    EXPECT_TRUE(std::ranges::is_permutation(ours, theirs));
  }
  std::size_t stay = 0, stay_plain = 0;
  for (std::size_t s = 0; s < 12; ++s) {
    stay += kept->placement.layer(0)[s] == start->placement.layer(0)[s] ? 1 : 0;
    stay_plain += plain->placement.layer(0)[s] == start->placement.layer(0)[s] ? 1 : 0;
  }
  EXPECT_GE(stay, stay_plain);
  EXPECT_GT(stay, 0u);
}

}  // namespace
}  // namespace moesaic::placement
