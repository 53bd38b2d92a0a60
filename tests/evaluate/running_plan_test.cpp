// An engine's map of slots beside a plan's placement.
#include "evaluate/running_plan.hpp"

#include <gtest/gtest.h>

#include <utility>

namespace moesaic::evaluate {
namespace {

/// Two nodes of one GPU, MoE layers 1 and 2 of three, four experts, no replicas.
struct Case {
  ModelShape shape{
      .model = "m", .model_layers = 3, .layers = {LayerId(1), LayerId(2)}, .experts = 4, .top_k = 1};
  Placement placement = *Placement::make({.nodes = 2, .gpus_per_node = 1}, shape.layers, 4, 2,
                                         {ExpertId(3), ExpertId(1), ExpertId(0), ExpertId(2),  //
                                          ExpertId(0), ExpertId(3), ExpertId(2), ExpertId(1)});

  EngineMap of_moe_layers() const {
    const auto slots = placement.all_slots();
    return {.layers = 2, .slots = 4, .logical = {slots.begin(), slots.end()}};
  }
};

TEST(RunningPlan, AnEngineThatLoadedThePlanRunsIt) {
  const Case c;
  const auto same = compare_with_engine(c.shape, c.placement, c.of_moe_layers());
  ASSERT_TRUE(same) << same.error().message;
  EXPECT_TRUE(same->runs());
  EXPECT_EQ(same->equal, 2u);
  EXPECT_EQ(same->misplaced_slots, 0u);
}

TEST(RunningPlan, AMapOfAllModelLayersIsReadByLayerId) {
  const Case c;
  EngineMap map = c.of_moe_layers();
  map.layers = 3;
  map.logical.insert(map.logical.begin(), {ExpertId(0), ExpertId(0), ExpertId(0), ExpertId(0)});  // dense
  const auto same = compare_with_engine(c.shape, c.placement, map);
  ASSERT_TRUE(same) << same.error().message;
  EXPECT_EQ(same->equal, 2u);
}

TEST(RunningPlan, TheOrderOfSlotsOnAGpuDoesNotMatterAndTheGpuDoes) {
  const Case c;
  EngineMap map = c.of_moe_layers();
  std::swap(map.logical[0], map.logical[1]);
  auto found = compare_with_engine(c.shape, c.placement, map);
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_TRUE(found->runs());
  EXPECT_EQ(found->equal, 1u);
  EXPECT_EQ(found->same_gpus, 1u);

  std::swap(map.logical[5], map.logical[6]);  // across GPUs, in layer 2
  found = compare_with_engine(c.shape, c.placement, map);
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_FALSE(found->runs());
  EXPECT_EQ(found->misplaced_slots, 2u);
  EXPECT_EQ(found->first_different, LayerId(2));
}

TEST(RunningPlan, TheMapAnEngineStartsWithIsRecognised) {
  const Case c;
  EngineMap map{.layers = 2, .slots = 4, .logical = {}};
  for (std::size_t slot = 0; slot < 8; ++slot) map.logical.push_back(ExpertId(slot % 4));
  const auto found = compare_with_engine(c.shape, c.placement, map);
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_FALSE(found->runs());
  EXPECT_EQ(found->engine_default, 2u);
}

TEST(RunningPlan, OtherSlotsAreNotThePlanAndAnotherModelIsAnError) {
  const Case c;
  EngineMap wide{.layers = 2, .slots = 6, .logical = std::vector<ExpertId>(12, ExpertId(0))};
  const auto found = compare_with_engine(c.shape, c.placement, wide);
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_FALSE(found->runs());
  EXPECT_EQ(found->engine_slots_per_layer, 6u);
  EXPECT_EQ(found->slots_per_layer, 4u);

  EngineMap tall = c.of_moe_layers();
  tall.layers = 1;
  tall.logical.resize(4);
  EXPECT_NE(compare_with_engine(c.shape, c.placement, tall).error().message.find("1 layers"),
            std::string::npos);
  EngineMap foreign = c.of_moe_layers();
  foreign.logical[7] = ExpertId(9);
  EXPECT_NE(compare_with_engine(c.shape, c.placement, foreign).error().message.find("expert 9"),
            std::string::npos);
}

}  // namespace
}  // namespace moesaic::evaluate
