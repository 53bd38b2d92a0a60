#include "grouping/offline_homes.hpp"

#include <algorithm>

#include "core/random.hpp"
#include "grouping/token_balance.hpp"
#include "signature/assigner.hpp"

namespace moesaic::grouping {
namespace {

TEST(OfflineHomes, GivesUpTheBestHomeOfTheRequestThatLosesLeast) {
  const std::vector<double> scores{0.9, 0.8, 0.9, 0.1};
  const std::vector<double> shares{0.5, 0.5};
  const auto result = offline_homes(scores, shares, std::vector<std::int64_t>{5, 5}, {.epsilon = 0});
  EXPECT_EQ(result.homes.of_request, (std::vector<HomeId>{HomeId(1), HomeId(0)}));
  EXPECT_DOUBLE_EQ(result.mean_score, 0.85);
  EXPECT_DOUBLE_EQ(result.home_max_over_mean, 1);
}

TEST(OfflineHomes, KeepsTokensNearTheSharesToo) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    Pcg32 random(seed);
    const std::vector<double> shares{0.5, 0.25, 0.25};
    std::vector<double> scores;
    std::vector<std::int64_t> tokens;
    for (int i = 0; i < 150; ++i) {
      tokens.push_back(1 + random.below(300));
      for (int h = 0; h < 3; ++h) scores.push_back(random.uniform() + (h == 1 ? 0.3 : 0));
    }
    const auto result = offline_homes(scores, shares, tokens, {.epsilon = 0.03});
    EXPECT_LE(result.home_max_over_mean, 1.03) << seed;
  }
}

TEST(BalanceTokens, MovesTheCheapestRequestATokenFirst) {
  // Group 0 holds 30 of 40 tokens; request 1 loses 0.1 for 10 tokens, request 0 loses 0.5.
  const std::vector<double> scores{1, 0.5, 1, 0.9, 1, 0, 0, 1};
  const std::vector<std::int64_t> tokens{10, 10, 10, 10};
  std::vector<std::uint32_t> group_of{0, 0, 0, 1};
  EXPECT_TRUE(balance_tokens(scores, tokens, signature::equal_shares(2), 0, group_of));
  EXPECT_EQ(group_of, (std::vector<std::uint32_t>{0, 1, 0, 1}));
}

TEST(BalanceTokens, SwapsHeavyForLightWhereNoSingleMoveFits) {
  const std::vector<double> scores(8, 0.5);
  const std::vector<std::int64_t> tokens{30, 20, 25, 5};
  std::vector<std::uint32_t> group_of{0, 0, 1, 1};
  EXPECT_TRUE(balance_tokens(scores, tokens, signature::equal_shares(2), 0.13, group_of));
  EXPECT_LE(load_over_share(tokens, group_of, signature::equal_shares(2)), 1.13);
}

TEST(BalanceTokens, SaysWhenOneRequestIsTooHeavyForAnyGroup) {
  const std::vector<double> scores(4, 0.5);
  std::vector<std::uint32_t> group_of{0, 1};
  EXPECT_FALSE(
      balance_tokens(scores, std::vector<std::int64_t>{100, 1}, signature::equal_shares(2), 0.1, group_of));
  EXPECT_EQ(group_of, (std::vector<std::uint32_t>{0, 1}));
}

TEST(BalanceTokens, LeavesGroupsWithinTheirBoundsAlone) {
  std::vector<std::uint32_t> group_of{0, 1, 0, 1};
  EXPECT_TRUE(balance_tokens(std::vector<double>{0, 1, 1, 0, 0, 1, 1, 0},
                             std::vector<std::int64_t>{5, 5, 5, 5}, signature::equal_shares(2), 0, group_of));
  EXPECT_EQ(group_of, (std::vector<std::uint32_t>{0, 1, 0, 1}));
}

}  // namespace
}  // namespace moesaic::grouping
