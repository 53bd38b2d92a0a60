#include "solve/balanced_choice.hpp"

#include <vector>

#include "core/random.hpp"

namespace moesaic::solve {
namespace {

using Numbers = std::vector<double>;

TEST(BalancedChoice, TakesTheBestBinThatIsNotTooFull) {
  EXPECT_EQ(balanced_choice(Numbers{1, 2, 3}, Numbers{0, 0, 0}, Numbers{1, 1, 1}, 0, 0), 2u);
  EXPECT_EQ(balanced_choice(Numbers{1, 2, 3}, Numbers{1, 1, 4}, Numbers{1, 1, 1}, 0, 0), 1u);
  EXPECT_EQ(balanced_choice(Numbers{1, 2, 3}, Numbers{1, 1, 4}, Numbers{1, 1, 1}, 1, 0), 2u);
  EXPECT_EQ(balanced_choice(Numbers{1, 2, 3}, Numbers{1, 1, 4}, Numbers{1, 1, 1}, 0, 2), 2u);
  EXPECT_EQ(balanced_choice(Numbers{1, 2, 3}, Numbers{1, 1, 4}, Numbers{1, 1, 4}, 0, 0), 2u) << "by share";
}

TEST(BalancedChoice, TiesGoToTheLighterThenToTheLowerBin) {
  EXPECT_EQ(balanced_choice(Numbers{1, 1, 1}, Numbers{2, 1, 1}, Numbers{1, 1, 1}, 9, 9), 1u);
  EXPECT_EQ(balanced_choice(Numbers{0, 0}, Numbers{2, 2}, Numbers{1, 2}, 9, 9), 1u);
}

TEST(BalancedChoice, BinsWithoutAShareTakeNothingAndCountNowhere) {
  EXPECT_EQ(balanced_choice(Numbers{9, 1, 2}, Numbers{0, 3, 3}, Numbers{0, 1, 1}, 0, 0), 2u);
  // The bin that is out holds 100: it does not raise what the others may hold.
  EXPECT_EQ(balanced_choice(Numbers{9, 2, 1}, Numbers{100, 4, 2}, Numbers{0, 1, 1}, 0, 0), 2u);
}

TEST(BalancedChoice, AlwaysFindsOneAndNeverFillsBeyondTheBound) {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    Pcg32 random(seed);
    const std::size_t bins = 1 + random.below(9);
    Numbers scores(bins), loads(bins), shares(bins);
    double whole = 0;
    for (double& share : shares) whole += share = 0.1 + random.uniform();
    for (int item = 1; item <= 300; ++item) {
      for (double& score : scores) score = random.uniform();
      const double total = item - 1;
      const std::size_t bin = balanced_choice(scores, loads, shares, 0.1, 1);
      ASSERT_LT(bin, bins);
      ASSERT_LE(loads[bin], 1.1 * total * shares[bin] / whole + 1 + 1e-9);
      loads[bin] += 1;
    }
  }
}

}  // namespace
}  // namespace moesaic::solve
