// Plans for parts of the traffic: how requests are cut, and that the worst part gains.
#include "planning/robust.hpp"

#include <algorithm>
#include <numeric>

#include "planning/small_store.hpp"

namespace moesaic::planning {
namespace {

using Store = testing::SmallStore;

double worst(const std::vector<evaluate::Score>& parts) {
  double most = 0;
  for (const evaluate::Score& part : parts) most = std::max(most, part.dedup.node_copies_per_token_layer);
  return most;
}

TEST(Parts, AreReadFromDomainsOrWindowsAndNothingElse) {
  EXPECT_TRUE(parse_parts("domains")->by_domain);
  EXPECT_EQ(parse_parts("windows:4")->windows, 4u);
  for (const char* text : {"", "windows", "windows:", "windows:1", "windows:65", "windows:4x", "domain"}) {
    const auto parts = parse_parts(text);
    ASSERT_FALSE(parts) << text;
    EXPECT_NE(parts.error().message.find("expected domains, or windows:K"), std::string::npos);
  }
}

TEST(Parts, WindowsHoldEvenTokensInOrderOfArrival) {
  const Store store;
  ThreadPool pool(1);
  const auto split = store.split(pool);
  ASSERT_TRUE(split) << split.error().message;
  const auto parts = parts_of(*split, {.by_domain = false, .windows = 4});
  ASSERT_TRUE(parts) << parts.error().message;
  EXPECT_TRUE(parts->said.empty());
  EXPECT_TRUE(std::ranges::is_sorted(parts->planned));
  for (std::uint16_t window = 0; window < 4; ++window)
    EXPECT_EQ(std::ranges::count(parts->planned, window), 12);
  // A scored request is in the window of the planned ones around it. Rows are arrivals here.
  for (std::size_t i = 0; i < parts->scored.size(); ++i) {
    const std::uint32_t row = split->scored().requests()[i];
    const auto before =
        std::ranges::count_if(split->planned().requests(), [&](std::uint32_t r) { return r < row; });
    EXPECT_EQ(parts->scored[i], before == 0 ? 0 : (before - 1) / 12) << row;
  }
}

TEST(Parts, SayWhenWindowsCannotBeOfTime) {
  const Store store(false);
  ThreadPool pool(1);
  const auto split = store.split(pool);
  ASSERT_TRUE(split);
  EXPECT_EQ(parts_of(*split, {.by_domain = false, .windows = 2})->said.size(), 1u);
  const auto many = parts_of(*split, {.by_domain = false, .windows = 64});
  ASSERT_FALSE(many);
  EXPECT_NE(many.error().message.find("use fewer windows"), std::string::npos) << many.error().message;
}

/// The small store split, its requests parted by domain.
class Robust : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(split);
    ASSERT_TRUE(parts);
  }

  const Store store;
  ThreadPool pool{1};
  const Result<Split> split = store.split(pool);
  const Result<Parts> parts = parts_of(*split, {.by_domain = true});
};

TEST_F(Robust, TheWorstPartIsServedBetterThanByAPlanForAll) {
  ASSERT_EQ(parts->size(), 2u);
  const auto plan = robust_plan(*split, *parts, Store::place(), {}, {}, pool);
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_LT(worst(plan->robust.planned), worst(plan->plain.planned));
  EXPECT_NEAR(std::accumulate(plan->weights.begin(), plan->weights.end(), 0.0), 1, 1e-12);

  ThreadPool two(2);
  const auto again = robust_plan(*split, *parts, Store::place(), {}, {}, two);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->solution.placement, plan->solution.placement);
  EXPECT_EQ(again->weights, plan->weights);
}

TEST_F(Robust, TheMeanFollowsTheWeights) {
  const auto rare = static_cast<std::size_t>(std::ranges::find(parts->names, "rare") - parts->names.begin());
  const auto copies = [&](double weight) {
    RobustOptions options{.goal = RobustGoal::kMean, .weights = {1, 1}};
    options.weights[rare] = weight;
    const auto plan = robust_plan(*split, *parts, Store::place(), options, {}, pool);
    EXPECT_TRUE(plan) << plan.error().message;
    EXPECT_EQ(plan->round, 1u);
    return plan->robust.planned[rare].dedup.node_copies_per_token_layer;
  };
  EXPECT_LT(copies(50), copies(0.02));
}

TEST_F(Robust, RefusesWeightsThatDoNotFitAndAlgorithmsThatDoNotWeigh) {
  const auto says = [&](const RobustOptions& robust, const std::string& algorithm, const char* part) {
    PlaceOptions place = Store::place();
    place.algorithm = algorithm;
    const auto plan = robust_plan(*split, *parts, place, robust, {}, pool);
    ASSERT_FALSE(plan);
    EXPECT_NE(plan.error().message.find(part), std::string::npos) << plan.error().message;
  };
  says({.goal = RobustGoal::kMean, .weights = {1, 1, 1}}, "moesaic", "3 weights for 2 parts");
  says({.goal = RobustGoal::kMean, .weights = {1, 0}}, "moesaic", "numbers above 0");
  says({}, "eplb", "--algorithm eplb cannot weigh");
}

TEST_F(Robust, APartCostsItsCopiesAndTheRowsAboveTheLimit) {
  evaluate::Score score;
  score.dedup.node_copies_per_token_layer = 1.5;
  score.per_expert.node_copies_per_token_layer = 2.5;
  score.node_max_over_mean = 1.3;
  score.gpu_max_over_mean = 1.4;
  const Topology topology{.nodes = 4, .gpus_per_node = 2};
  EXPECT_DOUBLE_EQ(part_value(score, topology, 4, 1.5, false), 1.5);
  // k = 4 rows a token: a node has 1 at its mean, a GPU 0.5.
  EXPECT_DOUBLE_EQ(part_value(score, topology, 4, 1.2, true), 2.5 + 0.1 * 1 + 0.2 * 0.5);
}

}  // namespace
}  // namespace moesaic::planning
