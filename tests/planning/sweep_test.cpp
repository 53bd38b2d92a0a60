#include "planning/sweep.hpp"

namespace moesaic::planning {
namespace {

TEST(Sweep, TriesNoneAQuarterAHalfAndAllExpertsAsReplicas) {
  EXPECT_EQ(sweep_slots(32, {.nodes = 4, .gpus_per_node = 2}), (std::vector<std::size_t>{4, 5, 6, 8}));
}

TEST(Sweep, RoundsUpToWholeSlotsAndTriesEachNumberOnce) {
  // 9 experts, 9 + 3, 9 + 5 and 9 + 9 slots on 4 GPUs.
  EXPECT_EQ(sweep_slots(9, {.nodes = 2, .gpus_per_node = 2}), (std::vector<std::size_t>{3, 4, 5}));
  EXPECT_EQ(sweep_slots(4, {.nodes = 4, .gpus_per_node = 4}), (std::vector<std::size_t>{1}));
}

}  // namespace
}  // namespace moesaic::planning
