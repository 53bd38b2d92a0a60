#include "signature/block_counts.hpp"

#include <algorithm>

#include "core/random.hpp"
#include "signature/transform.hpp"

namespace moesaic::signature {
namespace {

constexpr CountShape kShape{.layers = 3, .experts = 9, .top_k = 2};

std::vector<ExpertId> random_tokens(std::size_t tokens, std::uint64_t seed) {
  Pcg32 random(seed);
  std::vector<ExpertId> out;
  for (std::size_t i = 0; i < tokens * kShape.layers * kShape.top_k; ++i) {
    const std::uint32_t expert = random.below(10);
    out.push_back(expert == 9 ? kMissingExpert : ExpertId(expert));
  }
  return out;
}

/// Counted plainly, without blocks.
std::vector<float> counted(const std::vector<ExpertId>& tokens) {
  std::vector<float> out(kShape.layers * kShape.experts);
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] == kMissingExpert) continue;
    out[i / kShape.top_k % kShape.layers * kShape.experts + index(tokens[i])] += 1;
  }
  return out;
}

RC_GTEST_PROP(BlockCounts, SummedOverARequestsBlocksAreTheUncachedSignature, ()) {
  const auto length = *rc::gen::inRange<std::size_t>(1, 80);
  const auto block = *rc::gen::inRange<std::size_t>(1, 30);
  const auto tokens = random_tokens(length, *rc::gen::arbitrary<std::uint64_t>());
  const auto blocks = block_counts(tokens, kShape, block);
  RC_ASSERT(blocks.has_value());
  RC_ASSERT(blocks->size() == (length + block - 1) / block);

  // Whatever part of the request comes from the cache, and in whatever order it was computed.
  BlockCountCache cache(1 << 20);
  for (std::size_t b = blocks->size(); b-- > 0;) cache.insert(100 + b, (*blocks)[b]);
  std::vector<std::uint64_t> hashes;
  for (std::size_t b = 0; b < blocks->size(); ++b) hashes.push_back(100 + b);
  const auto cached = *rc::gen::inRange<std::size_t>(0, blocks->size() + 1);
  auto sum = cache.prefix(std::span(hashes).first(cached));
  RC_ASSERT(sum.has_value());
  RC_ASSERT(sum->blocks == cached);
  for (std::size_t b = cached; b < blocks->size(); ++b) RC_ASSERT(add_block((*blocks)[b], *sum).has_value());

  RC_ASSERT(sum->tokens == length);
  const auto counts = to_floats(sum->counts);
  RC_ASSERT(counts.has_value());
  const std::vector<float> plain = counted(tokens);
  RC_ASSERT(*counts == plain);
  ModelShape shape;
  shape.layers = {LayerId(0), LayerId(1), LayerId(2)};
  shape.experts = 9;
  for (const Transform transform : {Transform::kCount, Transform::kSqrtCount, Transform::kBinary}) {
    const Space space = all_layers(shape, transform);
    std::vector<float> of_blocks(space.width()), uncached(space.width());
    signature(space, *counts, of_blocks);
    signature(space, plain, uncached);
    RC_ASSERT(of_blocks == uncached);
  }
}

TEST(BlockCounts, AFullCountIsAnErrorNotAWrap) {
  constexpr CountShape kOne{.layers = 1, .experts = 2, .top_k = 1};
  const std::vector<ExpertId> most(65'535, ExpertId(1)), more(65'536, ExpertId(1));
  const auto whole = block_counts(most, kOne, 100'000);
  ASSERT_TRUE(whole);
  EXPECT_EQ(whole->at(0).counts, (std::vector<std::uint16_t>{0, 65'535}));
  const auto wrapped = block_counts(more, kOne, 100'000);
  ASSERT_FALSE(wrapped);
  EXPECT_EQ(wrapped.error().message,
            "block counts: block 0, layer row 0: expert 1 is counted more than 65535 times, the most that 16 "
            "bits hold; use smaller blocks.");
  EXPECT_TRUE(block_counts(more, kOne, 65'535));

  PrefixCounts sum{.tokens = 7, .blocks = 1, .counts = {0, 0xFFFFFFFFu - 65'534u}};
  const auto beyond = add_block(whole->at(0), sum);
  ASSERT_FALSE(beyond);
  EXPECT_NE(beyond.error().message.find("block 1 takes a sum beyond the 4294967295"), std::string::npos);
  EXPECT_EQ(sum.counts[1], 0xFFFFFFFFu - 65'534u);
  EXPECT_EQ(sum.tokens, 7u);
  PrefixCounts long_ago{.tokens = 0xFFFFFFF0u, .blocks = 1, .counts = {0, 0}};
  EXPECT_FALSE(add_block(whole->at(0), long_ago));

  EXPECT_TRUE(to_floats(std::vector<std::uint32_t>{(1u << 24) - 1}));
  EXPECT_FALSE(to_floats(std::vector<std::uint32_t>{1u << 24}));
}

TEST(BlockCounts, TokensOfAnotherModelAreRefused) {
  const auto torn = block_counts(random_tokens(2, 1), {.layers = 5, .experts = 9, .top_k = 2}, 4);
  ASSERT_FALSE(torn);
  EXPECT_NE(torn.error().message.find("12 expert ids are no whole tokens of 5 layers x 2"),
            std::string::npos);
  const std::vector<ExpertId> tokens{ExpertId(0), ExpertId(9)};
  const auto foreign = block_counts(tokens, {.layers = 2, .experts = 9, .top_k = 1}, 4);
  ASSERT_FALSE(foreign);
  EXPECT_NE(foreign.error().message.find("token 0, layer row 1: expert 9 of a layer with 9"),
            std::string::npos);
  PrefixCounts sum;
  ASSERT_TRUE(add_block({.tokens = 1, .counts = {1, 2}}, sum));
  const auto other = add_block({.tokens = 1, .counts = {1, 2, 3}}, sum);
  ASSERT_FALSE(other);
  EXPECT_NE(other.error().message.find("3 (layer, expert) cells follows blocks of 2"), std::string::npos);
}

TEST(BlockCountCache, APrefixEndsAtTheFirstUnknownBlock) {
  BlockCountCache cache(10'000);
  for (const std::uint64_t hash : {1u, 2u, 4u}) {
    cache.insert(hash, {.tokens = 16, .counts = {static_cast<std::uint16_t>(hash), 0}});
  }
  const auto prefix = cache.prefix(std::vector<std::uint64_t>{1, 2, 3, 4});
  ASSERT_TRUE(prefix);
  EXPECT_EQ(prefix->blocks, 2u);
  EXPECT_EQ(prefix->tokens, 32u);
  EXPECT_EQ(prefix->counts, (std::vector<std::uint32_t>{3, 0}));
  const auto nothing = cache.prefix(std::vector<std::uint64_t>{9});
  ASSERT_TRUE(nothing);
  EXPECT_EQ(nothing->blocks, 0u);
  EXPECT_TRUE(nothing->counts.empty());
}

TEST(BlockCountCache, TheTailOfWhatIsUsedLeastLeavesFirst) {
  const BlockCounts block{.tokens = 1, .counts = std::vector<std::uint16_t>(100)};
  const std::size_t bytes = sizeof(BlockCounts) + 200;
  BlockCountCache cache(3 * bytes);
  const std::vector<std::uint64_t> first{1, 2};
  for (const std::uint64_t hash : {1u, 2u, 3u}) cache.insert(hash, block);
  ASSERT_EQ(cache.prefix(first)->blocks, 2u);
  cache.insert(4, block);  // 3 goes
  EXPECT_EQ(cache.size(), 3u);
  EXPECT_EQ(cache.bytes(), 3 * bytes);
  EXPECT_EQ(cache.find(3), nullptr);
  cache.insert(5, block);  // the tail of the prefix goes, its head stays
  EXPECT_EQ(cache.prefix(first)->blocks, 1u);
  cache.insert(5, {.tokens = 2, .counts = {1}});
  EXPECT_EQ(cache.find(5)->tokens, 2u);
  EXPECT_EQ(cache.size(), 3u);
  cache.insert(6, {.tokens = 1, .counts = std::vector<std::uint16_t>(1000)});  // larger than the cache
  EXPECT_EQ(cache.find(6), nullptr);
  BlockCountCache off(0);
  off.insert(1, block);
  EXPECT_EQ(off.size(), 0u);
}

}  // namespace
}  // namespace moesaic::signature
