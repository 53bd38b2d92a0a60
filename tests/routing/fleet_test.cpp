#include "routing/fleet.hpp"

namespace moesaic::routing {
namespace {

Worker worker(std::uint32_t id, std::uint32_t max_running = 0, std::int64_t kv = 0) {
  return {.id = WorkerId{id}, .max_running = max_running, .kv_capacity = kv};
}

TEST(Fleet, CountsWhatIsPlacedAndRemoved) {
  Fleet fleet;
  const std::uint32_t slot = fleet.up(worker(7));
  fleet.place(RequestId{1}, slot, 100);
  fleet.place(RequestId{2}, slot, 50);
  EXPECT_EQ(fleet.slots()[slot].in_flight(), 2u);
  EXPECT_EQ(fleet.slots()[slot].kv_tokens, 150);
  EXPECT_EQ(fleet.remove(RequestId{1})->slot, slot);
  EXPECT_EQ(fleet.slots()[slot].in_flight(), 1u);
  EXPECT_EQ(fleet.slots()[slot].kv_tokens, 50);
  EXPECT_FALSE(fleet.remove(RequestId{1}));
  EXPECT_EQ(fleet.slots()[slot].given, 2u);
}

TEST(Fleet, AWorkerThatLeavesTakesItsRequestsAndItsSlotIsReused) {
  Fleet fleet;
  const std::uint32_t a = fleet.up(worker(1)), b = fleet.up(worker(2));
  fleet.place(RequestId{1}, a, 0);
  fleet.place(RequestId{2}, b, 0);
  EXPECT_EQ(fleet.down(WorkerId{1}), a);
  EXPECT_FALSE(fleet.down(WorkerId{1}));
  EXPECT_EQ(fleet.up_count(), 1u);
  EXPECT_FALSE(fleet.remove(RequestId{1}));
  EXPECT_TRUE(fleet.remove(RequestId{2}));
  EXPECT_EQ(fleet.up(worker(3)), a);
  EXPECT_EQ(fleet.slots()[a].given, 0u);
}

TEST(Fleet, FullWorkersComeLast) {
  Fleet fleet;
  const std::uint32_t batch = fleet.up(worker(1, 1)), cache = fleet.up(worker(2, 0, 100)),
                      open = fleet.up(worker(3));
  fleet.place(RequestId{1}, batch, 0);
  fleet.place(RequestId{2}, cache, 90);
  for (std::uint64_t i = 3; i < 9; ++i) fleet.place(RequestId{i}, open, 0);
  EXPECT_TRUE(fleet.full(batch, 1));
  EXPECT_TRUE(fleet.full(cache, 20));
  EXPECT_FALSE(fleet.full(cache, 10));
  EXPECT_EQ(fleet.least_loaded(20), open);
  EXPECT_EQ(fleet.least_loaded(10), cache);
  fleet.down(WorkerId{3});
  EXPECT_EQ(fleet.least_loaded(20), batch);  // all full: the shorter queue
}

TEST(Fleet, AReportCountsWhatOthersSent) {
  Fleet fleet;
  const std::uint32_t a = fleet.up(worker(1)), b = fleet.up(worker(2));
  fleet.place(RequestId{1}, a, 0);
  EXPECT_EQ(fleet.report(WorkerId{1}, {.requests = 5}), a);
  EXPECT_EQ(fleet.slots()[a].in_flight(), 5u);
  EXPECT_FALSE(fleet.report(WorkerId{1}, {.requests = 5}));  // nothing new
  EXPECT_FALSE(fleet.report(WorkerId{9}, {.requests = 5}));
  EXPECT_EQ(fleet.least_loaded(0), b);
  EXPECT_EQ(fleet.report(WorkerId{1}, {.requests = 0}), a);  // an old report never makes load negative
  EXPECT_EQ(fleet.slots()[a].in_flight(), 1u);
}

TEST(Fleet, TiesGoToTheWorkerThatGotFewestThenToTheFirst) {
  Fleet fleet;
  const std::uint32_t a = fleet.up(worker(1)), b = fleet.up(worker(2));
  EXPECT_EQ(fleet.least_loaded(0), a);
  fleet.place(RequestId{1}, a, 0);
  fleet.remove(RequestId{1});
  EXPECT_EQ(fleet.least_loaded(0), b);
}

TEST(Fleet, AKnownWorkerThatComesUpAgainOnlyChangesItsLimits) {
  Fleet fleet;
  const std::uint32_t a = fleet.up(worker(1, 4));
  fleet.place(RequestId{1}, a, 0);
  EXPECT_EQ(fleet.up(worker(1, 1)), a);
  EXPECT_EQ(fleet.up_count(), 1u);
  EXPECT_EQ(fleet.slots()[a].in_flight(), 1u);
  EXPECT_TRUE(fleet.full(a, 0));
}

}  // namespace
}  // namespace moesaic::routing
