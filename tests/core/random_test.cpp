#include "core/random.hpp"

#include <algorithm>
#include <array>

namespace moesaic {
namespace {

TEST(Random, Pcg32MatchesThePublishedDemoSequence) {
  // pcg32_srandom(42, 54) of the PCG paper's C library, first six outputs of its demo.
  Pcg32 random(42, 54);
  for (const std::uint32_t expected :
       {0xa15c02b7u, 0x7b47f409u, 0xba1d3330u, 0x83d2f293u, 0xbfa4784bu, 0xcbed606eu}) {
    EXPECT_EQ(random.next(), expected);
  }
}

TEST(Random, Splitmix64MatchesThePublishedSequence) {
  // First outputs of the reference generator seeded with 1234567 (its state advances by the constant).
  EXPECT_EQ(splitmix64(1234567), 6457827717110365317u);
  EXPECT_EQ(splitmix64(1234567 + 0x9E3779B97F4A7C15u), 3203168211198807973u);
}

TEST(Random, BelowStaysBelowAndReachesEverything) {
  Pcg32 random(1);
  std::array<int, 7> seen{};
  for (int i = 0; i < 7000; ++i) ++seen.at(random.below(7));
  for (const int count : seen) EXPECT_NEAR(count, 1000, 150);
}

TEST(Random, ShuffleKeepsTheItemsAndDependsOnTheSeed) {
  std::vector<int> a(100), b(100);
  for (int i = 0; i < 100; ++i) a[static_cast<std::size_t>(i)] = b[static_cast<std::size_t>(i)] = i;
  Pcg32 one(1), two(2);
  shuffle(std::span(a), one);
  shuffle(std::span(b), two);
  EXPECT_NE(a, b);
  std::ranges::sort(a);
  std::ranges::sort(b);
  EXPECT_EQ(a, b);
}

}  // namespace
}  // namespace moesaic
