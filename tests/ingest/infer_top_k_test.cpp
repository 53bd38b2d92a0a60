#include "ingest/infer_top_k.hpp"

#include <algorithm>
#include <numeric>

#include "core/random.hpp"

namespace moesaic::ingest {
namespace {

/// Rows of `planes` planes of k different ids below `experts`; planes below `dense` are zero.
std::vector<ExpertId> rows_of(std::uint64_t seed, std::size_t rows, std::size_t planes, std::size_t dense,
                              std::size_t k, std::size_t experts) {
  std::vector<ExpertId> out;
  std::vector<std::uint16_t> ids(experts);
  std::iota(ids.begin(), ids.end(), std::uint16_t{0});
  Pcg32 random(seed);
  for (std::size_t i = 0; i < rows * planes; ++i) {
    if (i % planes < dense) {
      out.insert(out.end(), k, ExpertId{0});
      continue;
    }
    for (std::size_t j = 0; j < k; ++j) {
      std::swap(ids[j], ids[j + random.below(static_cast<std::uint32_t>(experts - j))]);
      out.push_back(ExpertId{ids[j]});
    }
  }
  return out;
}

RC_GTEST_PROP(InferTopK, FindsKOfRoutingWithEnoughTokens, ()) {
  const auto seed = *rc::gen::arbitrary<std::uint64_t>();
  const auto k = *rc::gen::inRange<std::size_t>(1, 9);
  const auto planes = *rc::gen::inRange<std::size_t>(2, 13);
  const auto dense = *rc::gen::inRange<std::size_t>(0, 2);
  const auto ids = rows_of(seed, 2000, planes, dense, k, 16 + 4 * k);
  const auto found = infer_top_k({std::span(ids)}, planes * k, "t");
  RC_ASSERT(found.has_value());
  RC_ASSERT(*found == k);
}

TEST(InferTopK, TooFewTokensAreRefusedRatherThanGuessed) {
  const auto ids = rows_of(1, 3, 4, 0, 2, 256);
  const auto found = infer_top_k({std::span(ids)}, 8, "reply.json");
  ASSERT_FALSE(found);
  EXPECT_NE(found.error().message.find("reply.json: 8 ids a token"), std::string::npos);
  EXPECT_NE(found.error().message.find("--model"), std::string::npos);
}

TEST(InferTopK, OneExpertATokenIsCertainWhenEverythingElseIsRefuted) {
  // Dense planes between MoE ones: a pair would hold a position that is always zero beside one that is not.
  const std::vector<ExpertId> ids{ExpertId{0}, ExpertId{5}, ExpertId{0}, ExpertId{6}};
  const auto found = infer_top_k({std::span(ids)}, 4, "t");
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(*found, 1u);
}

}  // namespace
}  // namespace moesaic::ingest
