// Oracles and limits of others in `compare`.
#include "planning/compare.hpp"

#include "planning/small_store.hpp"

namespace moesaic::planning {
namespace {

using Store = testing::SmallStore;

Result<Comparison> compared(const Store& store, std::vector<std::string> algorithms,
                            grouping::AssignMode mode = grouping::AssignMode::kAfterPrefill) {
  CompareOptions asked{.split = Store::split_options(),
                       .splits = 3,
                       .algorithms = std::move(algorithms),
                       .place = Store::place(),
                       .score = {}};
  asked.split.unseen.mode = mode;
  asked.place.max_imbalance = 0;
  ThreadPool pool(1);
  return compare(store.trace(), asked, pool, [](const std::string&) {});
}

TEST(Compare, HomesThatAreToldTheDecodeSendNoMoreThanThoseFromAPrefill) {
  const Store store;
  const auto copies = [&](grouping::AssignMode mode) {
    const auto found = compared(store, {"moesaic"}, mode);
    EXPECT_TRUE(found);
    return found->mean[0].score.dedup.node_copies_per_token_layer;
  };
  const double told = copies(grouping::AssignMode::kTold);
  EXPECT_LE(told, copies(grouping::AssignMode::kAfterPrefill));
  EXPECT_LT(told, copies(grouping::AssignMode::kRandom));
}

TEST(Compare, PlansLearnFromTheShareTheyAreGivenAndAreScoredOnTheSame) {
  const Store store;
  ThreadPool pool(1);
  SplitOptions asked = Store::split_options();
  const auto all = Split::make(store.trace(), asked, pool);
  asked.learn_share = 0.5;
  const auto half = Split::make(store.trace(), asked, pool);
  ASSERT_TRUE(all && half);
  EXPECT_EQ(half->planned().requests().size(), all->planned().requests().size() / 2);
  EXPECT_TRUE(std::ranges::equal(half->scored().requests(), all->scored().requests()));
}

TEST(Compare, SaysWhatMayFollowTheAt) {
  const Store store;
  const auto found = compared(store, {"moesaic@al"});
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().message,
            "moesaic@al: expected an algorithm after @ (`moesaic algorithms`), or scored or all.");
}

TEST(Compare, ToldHomesNeedNewGroups) {
  const Store store;
  ThreadPool pool(1);
  const signature::Assigner running = store.split(pool)->assigner();
  SplitOptions asked = Store::split_options();
  asked.unseen.mode = grouping::AssignMode::kTold;
  asked.assigner = &running;
  const auto split = Split::make(store.trace(), asked, pool);
  ASSERT_FALSE(split);
  EXPECT_NE(split.error().message.find("--assign told"), std::string::npos) << split.error().message;
}

TEST(Compare, AtAPeersImbalanceThePlanIsAsEvenOnPlanningRequests) {
  const Store store;
  ThreadPool pool(1);
  for (const std::string peer : {"linear", "patterns"}) {
    const auto found = compared(store, {"eplb", "moesaic@" + peer});
    ASSERT_TRUE(found) << found.error().message;
    // The limit as it was given, on the first split.
    const auto split = store.split(pool);
    PlaceOptions options = Store::place();
    options.max_imbalance = 0;
    options.algorithm = peer;
    const auto others = place(*split, options, pool);
    const double limit = *unseen_imbalance(*split, others->placement, pool);
    options.algorithm = "moesaic";
    options.mean_imbalance = limit;
    const auto ours = place(*split, options, pool);
    ASSERT_TRUE(ours) << ours.error().message;
    const double even = *unseen_imbalance(*split, ours->placement, pool);
    EXPECT_LE(even, limit + 1e-9) << peer;
    EXPECT_LT(found->mean[1].score.dedup.node_copies_per_token_layer,
              found->mean[0].score.dedup.node_copies_per_token_layer)
        << peer;
  }
}

TEST(Compare, AMeanImbalanceIsRefusedWhereNothingSharesIt) {
  const Store store;
  ThreadPool pool(1);
  const auto split = store.split(pool);
  PlaceOptions options = Store::place();
  options.max_imbalance = 0;
  options.mean_imbalance = 1.2;
  options.slots_per_gpu = 4;
  const auto replicas = place(*split, options, pool);
  ASSERT_FALSE(replicas);
  EXPECT_NE(replicas.error().message.find("with replicas"), std::string::npos);
  options.slots_per_gpu = 3;
  options.algorithm = "eplb";
  EXPECT_FALSE(place(*split, options, pool));
}

}  // namespace
}  // namespace moesaic::planning
