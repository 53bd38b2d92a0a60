#include "planning/slots.hpp"

namespace moesaic::planning {
namespace {

constexpr Topology kEight{.nodes = 4, .gpus_per_node = 2};

void says(const Result<std::size_t>& slots, const char* part) {
  ASSERT_FALSE(slots) << *slots;
  EXPECT_EQ(slots.error().kind, ErrorKind::kBadInput);
  EXPECT_NE(slots.error().message.find(part), std::string::npos) << slots.error().message;
}

TEST(Slots, NoRequestMeansNoReplicas) { EXPECT_EQ(slots_per_gpu({}, kEight, 32, 24, 0), 4u); }

TEST(Slots, ATotalThatDoesNotDivideNamesBothNeighbours) {
  says(slots_per_gpu({.extra_slots = 9}, kEight, 32, 24, 0), "use --extra-slots 8 or --extra-slots 16");
  says(slots_per_gpu({}, kEight, 30, 24, 0), "use --extra-slots 2");
  EXPECT_EQ(slots_per_gpu({.extra_slots = 16}, kEight, 32, 24, 0), 6u);
}

TEST(Slots, EveryExpertNeedsASlot) {
  says(slots_per_gpu({.slots_per_gpu = 3}, kEight, 32, 24, 0), "at least 4");
  EXPECT_EQ(slots_per_gpu({.slots_per_gpu = 5}, kEight, 32, 24, 0), 5u);
}

TEST(Slots, MemoryBuysWholeSlotsOfAllLayers) {
  const double expert = 0x1p30 / 24;  // 24 layers of one expert: a GiB
  EXPECT_EQ(slots_per_gpu({.memory_gib = 5.9}, kEight, 32, 24, expert), 5u);
  EXPECT_EQ(slots_per_gpu({.memory_gib = 1e9}, kEight, 32, 24, expert),
            32u);  // a GPU that holds every expert
  says(slots_per_gpu({.memory_gib = 3.9}, kEight, 32, 24, expert), "needs 4.00 GiB");
  says(slots_per_gpu({.memory_gib = 5}, kEight, 32, 24, 0), "give --model");
}

TEST(Slots, TwoRequestsAtOnceAreRefused) {
  says(slots_per_gpu({.slots_per_gpu = 5, .extra_slots = 8}, kEight, 32, 24, 0), "at most one");
}

}  // namespace
}  // namespace moesaic::planning
