// Plans made on some domains and scored on others.
#include <algorithm>

#include "planning/compare.hpp"
#include "planning/small_store.hpp"

namespace moesaic::planning {
namespace {

using Store = testing::SmallStore;

CompareOptions options(std::vector<std::uint16_t> planned, std::vector<std::uint16_t> scored) {
  CompareOptions asked{.split = Store::split_options(),
                       .splits = 2,
                       .algorithms = {"linear", "moesaic"},
                       .place = Store::place(),
                       .score = {}};
  asked.split.domains = std::move(planned);
  asked.split.scored_domains = std::move(scored);
  return asked;
}

std::uint16_t code(const Store& store, const std::string& name) {
  const auto& domains = store.trace().requests().domains;
  return static_cast<std::uint16_t>(std::ranges::find(domains, name) - domains.begin());
}

TEST(Across, APlanLosesWhereItHasNotBeenAndLinearDoesNotCare) {
  const Store store;
  ThreadPool pool(1);
  const auto asked = options({code(store, "usual")}, {code(store, "rare")});
  const auto across = compare_across(store.trace(), asked, pool, [](const std::string&) {});
  ASSERT_TRUE(across) << across.error().message;
  const auto copies = [](const Comparison& comparison, std::size_t a) {
    return comparison.mean[a].score.dedup.node_copies_per_token_layer;
  };
  EXPECT_GT(copies(across->unseen, 1), copies(across->seen, 1));
  EXPECT_EQ(across->unseen.by_split.size(), 2u);
  // The same requests are scored: as many tokens, whoever planned.
  for (std::size_t s = 0; s < 2; ++s)
    EXPECT_EQ(across->unseen.by_split[s][0].score.tokens, across->seen.by_split[s][0].score.tokens);
}

TEST(Across, TheOraclesKnowWhatIsScored) {
  const Store store;
  ThreadPool pool(1);
  auto asked = options({code(store, "usual")}, {code(store, "rare")});
  asked.algorithms = {"linear",  "linear@scored",  "eplb",       "eplb@scored",
                      "moesaic", "moesaic@scored", "linear@all", "moesaic@all"};
  const auto across = compare_across(store.trace(), asked, pool, [](const std::string&) {});
  ASSERT_TRUE(across) << across.error().message;
  for (const std::vector<NamedScore>& split : across->unseen.by_split) {
    const auto copies = [&](std::size_t a) { return split[a].score.dedup.node_copies_per_token_layer; };
    EXPECT_EQ(copies(0), copies(1)) << "linear looks at no tokens";
    EXPECT_GT(split[2].score.gpu_max_over_mean, split[3].score.gpu_max_over_mean);
    EXPECT_GT(copies(4), copies(5));
    EXPECT_EQ(copies(0), copies(6));
    // What knows both sends no less than what knows these alone.
    EXPECT_GE(copies(7), copies(5));
  }
  // Where most requests are of the scored domain it sends less than what does not know these.
  asked = options({code(store, "rare")}, {code(store, "usual")});
  asked.algorithms = {"moesaic", "moesaic@all"};
  const auto back = compare_across(store.trace(), asked, pool, [](const std::string&) {});
  ASSERT_TRUE(back) << back.error().message;
  for (const std::vector<NamedScore>& split : back->unseen.by_split)
    EXPECT_GT(split[0].score.dedup.node_copies_per_token_layer,
              split[1].score.dedup.node_copies_per_token_layer);
}

TEST(Across, HalvesTheDomainsWhereNoneAreNamed) {
  const Store store;
  ThreadPool pool(1);
  const auto across = compare_across(store.trace(), options({}, {}), pool, [](const std::string&) {});
  ASSERT_TRUE(across) << across.error().message;
  EXPECT_EQ(across->unseen.mean.size(), 2u);
}

TEST(Across, RefusesADomainThatIsPlannedAndScored) {
  const Store store;
  ThreadPool pool(1);
  const auto asked = options({0, 1}, {1});
  const auto across = compare_across(store.trace(), asked, pool, [](const std::string&) {});
  ASSERT_FALSE(across);
  EXPECT_NE(across.error().message.find("is planned on as well"), std::string::npos)
      << across.error().message;
}

}  // namespace
}  // namespace moesaic::planning
