#include "gateway/known_experts.hpp"

#include "core/random.hpp"
#include "emulator/routed_experts.hpp"
#include "io/base64.hpp"
#include "io/npy.hpp"

namespace moesaic::gateway {
namespace {

/// Layer 0 is dense; 1 and 2 have four experts, two a token.
const ModelShape kShape{"m", 3, {LayerId{1}, LayerId{2}}, 4, 2};

std::string vllm(std::vector<std::uint64_t> shape, const std::vector<std::int32_t>& ids, std::size_t prompt) {
  const auto file = io::write_npy(io::make_array(std::move(shape), ids));
  return R"({"id":"c","choices":[{"index":0,"text":"t","routed_experts":")" +
         io::encode_base64(io::as_bytes(*file)) + R"("}],"usage":{"prompt_tokens":)" +
         std::to_string(prompt) + R"(,"completion_tokens":2}})";
}

std::vector<ExpertId> ids(std::initializer_list<int> values) {
  std::vector<ExpertId> out;
  for (const int value : values) out.push_back(value < 0 ? kMissingExpert : ExpertId(value));
  return out;
}

TEST(KnownExperts, ReadsWhatVllmReturns) {
  const auto known = experts_of_reply(vllm({3, 2, 2}, {0, 1, 2, 3, 1, 2, 3, 0, -1, -1, 2, 1}, 2), kShape);
  ASSERT_TRUE(known);
  EXPECT_EQ(known->prefill_tokens, 2u);
  EXPECT_EQ(known->decode_tokens, 1u);
  EXPECT_EQ(known->experts, ids({0, 1, 2, 3, 1, 2, 3, 0, -1, -1, 2, 1}));
  const auto prefill = prefill_usage(*known, kShape);
  ASSERT_TRUE(prefill);
  EXPECT_EQ(prefill->tokens, 2u);
  EXPECT_EQ(prefill->counts, (std::vector<float>{1, 2, 1, 0, 1, 0, 1, 2}));
  EXPECT_EQ(decode_usage(*known, kShape)->counts, (std::vector<float>{0, 0, 0, 0, 0, 1, 1, 0}));
}

TEST(KnownExperts, ReadsWhatSglangReturnsWithoutItsDenseLayers) {
  const std::vector<std::int32_t> raw = {0, 0, 0, 1, 2, 3, 0, 0, 1, 2, 3, 0};  // two tokens of three layers
  const std::string reply = R"({"id":"c","choices":[{"index":0,"text":"t"}],"usage":{"prompt_tokens":1,)"
                            R"("completion_tokens":2},"sglext":{"routed_experts":")" +
                            io::encode_base64(std::as_bytes(std::span(raw))) + R"("}})";
  const auto known = experts_of_reply(reply, kShape);
  ASSERT_TRUE(known);
  EXPECT_EQ(known->prefill_tokens, 1u);
  EXPECT_EQ(known->experts, ids({0, 1, 2, 3, 1, 2, 3, 0}));
}

TEST(KnownExperts, WhatDoesNotFitIsNothing) {
  EXPECT_FALSE(experts_of_reply("", kShape));
  EXPECT_FALSE(experts_of_reply("{}", kShape));
  EXPECT_FALSE(experts_of_reply(R"({"choices":[{"routed_experts":"%%%"}]})", kShape));
  EXPECT_FALSE(experts_of_reply(vllm({1, 2, 2}, {0, 1, 2, 4}, 1), kShape)) << "expert 4 of 4";
  EXPECT_FALSE(experts_of_reply(vllm({1, 2, 3}, {0, 1, 2, 3, 0, 1}, 1), kShape)) << "three a token";
  EXPECT_FALSE(experts_of_reply(vllm({1, 4, 2}, {0, 1, 2, 3, 0, 1, 2, 3}, 1), kShape)) << "four layers";
  EXPECT_FALSE(experts_of_reply(vllm({2, 2, 2}, {0, 0, 0, 0, 0, 0, 0, 0}, 1), kShape)) << "all zero";
  EXPECT_FALSE(
      prefill_usage({.prefill_tokens = 0, .decode_tokens = 1, .experts = ids({0, 1, 2, 3})}, kShape));
  EXPECT_FALSE(prefill_usage({.prefill_tokens = 1, .experts = ids({-1, -1, -1, -1})}, kShape));
}

}  // namespace
}  // namespace moesaic::gateway
