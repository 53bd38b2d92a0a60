#include "profile/statistics.hpp"

#include <cmath>

#include "profile/balance.hpp"
#include "profile/domains.hpp"
#include "profile/drift.hpp"
#include "profile/structure.hpp"

namespace moesaic::profile {
namespace {

using Values = std::vector<double>;

TEST(Spread, KnowsTheTwoExtremes) {
  const Spread even = spread(Values(8, 5.0));
  EXPECT_DOUBLE_EQ(even.max_over_mean, 1);
  EXPECT_NEAR(even.gini, 0, 1e-12);
  EXPECT_NEAR(even.entropy, 1, 1e-12);
  EXPECT_EQ(even.cv, 0);
  const Spread one = spread(Values{0, 0, 7, 0});
  EXPECT_DOUBLE_EQ(one.max_over_mean, 4);
  EXPECT_DOUBLE_EQ(one.gini, 0.75);
  EXPECT_DOUBLE_EQ(one.cv, std::sqrt(3.0));
  EXPECT_EQ(one.entropy, 0);
  EXPECT_EQ(one.hottest, 2u);
  EXPECT_EQ(one.unused, 3u);
  EXPECT_TRUE(std::isnan(spread(Values(4, 0.0)).gini));
}

TEST(Statistics, DivergenceIsOneBitWhenNothingIsShared) {
  EXPECT_DOUBLE_EQ(jensen_shannon_bits(Values{3, 0}, Values{0, 9}), 1);
  EXPECT_DOUBLE_EQ(jensen_shannon_bits(Values{1, 3}, Values{2, 6}), 0);
  EXPECT_TRUE(std::isnan(jensen_shannon_bits(Values{0, 0}, Values{1, 1})));
}

TEST(Statistics, SpearmanSeesOrderAlone) {
  EXPECT_DOUBLE_EQ(spearman(Values{1, 2, 3, 4}, Values{1, 8, 27, 1000}), 1);
  EXPECT_DOUBLE_EQ(spearman(Values{1, 2, 3, 4}, Values{9, 7, 5, 1}), -1);
  EXPECT_NEAR(spearman(Values{1, 1, 2, 3}, Values{1, 2, 2, 3}), 5.0 / 6,
              1e-12);  // ranks .5 .5 2 3 and 0 1.5 1.5 3
  EXPECT_TRUE(std::isnan(pearson(Values{1, 1}, Values{1, 2})));
}

TEST(Statistics, AStepOfIndependentTokensMatchesSmallCasesByHand) {
  const Independent two = independent_step(Values{0.5, 0.5}, 2);
  EXPECT_DOUBLE_EQ(two.distinct, 1.5);
  // Two independent binomials of two: the larger is 0, 1, 2 with 1/16, 8/16, 7/16.
  EXPECT_DOUBLE_EQ(two.largest, 22.0 / 16);
  EXPECT_DOUBLE_EQ(independent_step(Values{1, 0}, 5).largest, 5);
}

RC_GTEST_PROP(QuickPlan, NeverBeatsItsBoundAndHoldsEveryExpert, ()) {
  const auto experts = *rc::gen::inRange<std::size_t>(2, 33);
  const auto gpus = fitting_gpus(experts, *rc::gen::inRange<std::size_t>(1, 9));
  const auto slots = experts / gpus + *rc::gen::inRange<std::size_t>(0, 3);
  Values loads;
  for (std::size_t e = 0; e < experts; ++e) loads.push_back(*rc::gen::inRange(1, 1000));
  const QuickPlan plan = quick_plan(loads, gpus, slots);
  std::vector<std::size_t> used(gpus);
  for (const auto& on : plan.gpu_of) {
    RC_ASSERT(!on.empty());
    for (const std::size_t g : on) ++used.at(g);
  }
  for (const std::size_t n : used) RC_ASSERT(n <= slots);
  RC_ASSERT(imbalance(plan, loads) >= imbalance_bound(loads, gpus, slots) - 1e-9);
}

TEST(AverageLinkage, JoinsThePlantedPairsFirst) {
  const Values distance = {0, .1, .8, .9, .1, 0, .7, .8, .8, .7, 0, .2, .9, .8, .2, 0};
  const Tree tree = average_linkage(distance, 4);
  ASSERT_EQ(tree.merges.size(), 3u);
  EXPECT_DOUBLE_EQ(tree.merges[0].height, 0.1);
  EXPECT_DOUBLE_EQ(tree.merges[1].height, 0.2);
  EXPECT_DOUBLE_EQ(tree.merges[2].height, 0.8);
  EXPECT_EQ(tree.order, (std::vector<std::size_t>{0, 1, 2, 3}));
}

TEST(Drift, FindsThePlantedChangeAndItsCost) {
  // Two experts on two GPUs; between windows 1 and 2 all load moves from one expert to the other.
  const Loads windows{
      .layers = 1, .kinds = 4, .experts = 4, .values = {9, 9, 1, 1, 9, 9, 1, 1, 1, 1, 9, 9, 1, 9, 9, 1}};
  const Drift found = drift(windows, 2);
  EXPECT_NEAR(found.between[0 * 4 + 1], 0, 1e-12);
  EXPECT_GT(found.between[1 * 4 + 2], 0.5);
  ASSERT_EQ(found.next.size(), 3u);
  EXPECT_DOUBLE_EQ(found.next[0].carried, found.next[0].own);
  EXPECT_DOUBLE_EQ(found.next[1].contiguous, 1.8);
  EXPECT_GT(found.half_life, 0);
}

TEST(CoActivation, FindsThePlantedTriangles) {
  // 1,200 tokens of two experts each: four triangles of experts, 100 tokens a pair.
  std::vector<std::uint32_t> pairs(12 * 12);
  const std::vector<std::uint64_t> single(12, 200);
  for (std::size_t from = 0; from < 12; from += 3) {
    pairs[from * 12 + from + 1] = pairs[from * 12 + from + 2] = pairs[(from + 1) * 12 + from + 2] = 100;
  }
  const CoActivation found = co_activation(pairs, single, 1200, 2, 8);
  EXPECT_DOUBLE_EQ(found.uniform_lift, 12.0 / 22);
  EXPECT_DOUBLE_EQ(found.mean_lift, 3);
  ASSERT_EQ(found.strongest.size(), 8u);
  ASSERT_EQ(found.cliques.size(), 3u);  // the three it keeps
  EXPECT_EQ(found.cliques[1].experts, (std::vector<std::uint16_t>{3, 4, 5}));
  EXPECT_DOUBLE_EQ(found.cliques[1].weakest_lift, 3);
}

TEST(Affinity, OfAPermutationIsTheWholeEntropy) {
  // Expert e is always followed by e + 1 of four.
  std::vector<std::uint32_t> joint(16);
  for (std::size_t e = 0; e < 4; ++e) joint[e * 4 + (e + 1) % 4] = 50;
  const std::vector<std::uint64_t> single(4, 50);
  const Affinity found = affinity(joint, single, single, 200, 4);
  EXPECT_DOUBLE_EQ(found.information_bits, 2);
  EXPECT_DOUBLE_EQ(found.followed, 1);
  EXPECT_DOUBLE_EQ(found.followed_independent, 0.25);
  EXPECT_DOUBLE_EQ(found.strongest[0].lift, 4);
}

}  // namespace
}  // namespace moesaic::profile
