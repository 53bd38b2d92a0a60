#include "planning/fastest.hpp"

#include <algorithm>
#include <numeric>

#include "evaluate/step_times.hpp"
#include "planning/small_store.hpp"

namespace moesaic::planning {
namespace {

using Store = testing::SmallStore;

FastestOptions kernels(bool per_expert) {
  FastestOptions options{.costs = {}, .tokens_per_gpu = 8, .per_expert = per_expert};
  options.costs.node = {.latency = Nanoseconds{100}, .bytes_per_nanosecond = 1};
  options.costs.gpu = options.costs.node;
  options.costs.crosses_nodes = true;
  options.costs.dispatch_bytes = options.costs.combine_bytes = 10;
  options.costs.expert_bytes = 50;
  options.costs.row_flops = 30;
  return options;
}

TEST(Fastest, NoCandidateIsFasterAndTheTimeIsThatOfThePlan) {
  const Store store;
  ThreadPool pool(1), two(2);
  const auto split = store.split(pool);
  ASSERT_TRUE(split) << split.error().message;
  for (const bool per_expert : {false, true}) {
    const FastestOptions options = kernels(per_expert);
    const auto fastest = place_fastest(*split, Store::place(), options, pool);
    ASSERT_TRUE(fastest) << fastest.error().message;
    EXPECT_EQ(fastest->candidates.size(), 14u);  // two objectives under 1.02 to 1.5 and 2
    std::size_t layers = 0;
    for (const Candidate& one : fastest->candidates) {
      EXPECT_LE(fastest->time, one.time) << one.name;
      layers += one.layers;
    }
    EXPECT_EQ(layers, 2u);
    const Placement* const placements[] = {&fastest->solution.placement};
    const auto again = evaluate::time_placements(
        split->planned(), split->planned_homes(), placements,
        {.objective = {}, .tokens_per_gpu = options.tokens_per_gpu, .costs = options.costs}, pool);
    ASSERT_TRUE(again);
    const evaluate::StepTimes& times = again->placements[0];
    EXPECT_EQ(fastest->time, (per_expert ? times.per_expert : times.dedup).sum.total());
    EXPECT_EQ(place_fastest(*split, Store::place(), options, two)->solution.placement,
              fastest->solution.placement);
  }
}

TEST(Fastest, KeepsToAGivenLimitAndTakesEplbWithoutOne) {
  const Store store;
  ThreadPool pool(1);
  const auto split = store.split(pool);
  ASSERT_TRUE(split);
  PlaceOptions place = Store::place();
  place.max_imbalance = 1.08;
  const auto limited = place_fastest(*split, place, kernels(false), pool);
  ASSERT_TRUE(limited);
  EXPECT_EQ(limited->candidates.size(), 6u);  // 1.02, 1.05 and 1.08, twice
  place.max_imbalance = 0;
  const auto free = place_fastest(*split, place, kernels(false), pool);
  ASSERT_TRUE(free);
  EXPECT_EQ(free->candidates.back().name, "eplb");
}

TEST(Fastest, RefusesOtherAlgorithmsAndStepsThatAreNotFilled) {
  const Store store;
  ThreadPool pool(1);
  const auto split = store.split(pool);
  ASSERT_TRUE(split);
  PlaceOptions place = Store::place();
  place.algorithm = "eplb";
  const auto other = place_fastest(*split, place, kernels(false), pool);
  ASSERT_FALSE(other);
  EXPECT_NE(other.error().message.find("chooses among plans of moesaic"), std::string::npos);
  FastestOptions large = kernels(false);
  large.tokens_per_gpu = 100'000;
  const auto unfilled = place_fastest(*split, Store::place(), large, pool);
  ASSERT_FALSE(unfilled);
  EXPECT_NE(unfilled.error().message.find("cannot be filled"), std::string::npos) << unfilled.error().message;
}

}  // namespace
}  // namespace moesaic::planning
