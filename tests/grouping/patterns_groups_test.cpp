#include "grouping/patterns_groups.hpp"

#include <algorithm>

#include "core/random.hpp"
#include "grouping/token_balance.hpp"

namespace moesaic::grouping {
namespace {

/// Requests of `kinds` kinds, each with experts of its own; decode and predict tokens drawn alike.
struct Requests {
  ModelShape shape{
      .model = "", .model_layers = 3, .layers = {LayerId(0), LayerId(2)}, .experts = 24, .top_k = 2};
  std::size_t kinds;
  std::vector<float> predict, decode;
  std::vector<std::int64_t> tokens;

  Requests(std::size_t requests, std::size_t of_kinds, std::uint64_t seed) : kinds(of_kinds) {
    Pcg32 random(seed);
    const auto own = static_cast<std::uint32_t>(shape.experts / kinds);
    predict.resize(requests * 48);
    decode.resize(requests * 48);
    for (std::size_t r = 0; r < requests; ++r) {
      tokens.push_back(20 + random.below(60));
      const std::size_t kind = r % kinds;
      const auto draw = [&] {
        return random.below(4) == 0 ? random.below(24) : kind * own + random.below(own);
      };
      for (std::size_t layer = 0; layer < 2; ++layer) {
        for (int i = 0; i < 30; ++i) ++predict[(r * 2 + layer) * 24 + draw()];
        for (std::int64_t i = 0; i < tokens[r]; ++i) ++decode[(r * 2 + layer) * 24 + draw()];
      }
    }
  }
  PatternsInput input(Topology topology, Attention attention) const {
    return {.shape = shape,
            .predict = {.layers = 2, .experts = 24, .values = predict},
            .decode = {.layers = 2, .experts = 24, .values = decode},
            .tokens = tokens,
            .topology = topology,
            .attention = attention};
  }
};

TEST(PatternsGroups, RequestsOfAKindShareAHomeAndTheAssignerFindsIt) {
  const Requests past(120, 4, 1), next(40, 4, 2);
  ThreadPool pool(1);
  const auto groups =
      patterns_groups(past.input({4, 2}, Attention::kTensorParallel), {.token_slack = 0.3}, pool);
  ASSERT_TRUE(groups);
  for (std::size_t r = 4; r < 120; ++r)
    EXPECT_EQ(groups->homes.of_request[r], groups->homes.of_request[r % 4]);
  EXPECT_EQ(groups->validation_accuracy, 1);
  ASSERT_TRUE(signature::validate(groups->assigner));
  const auto scores =
      signature::scores(groups->assigner, {.layers = 2, .experts = 24, .values = next.predict});
  for (std::size_t r = 0; r < 40; ++r) {
    EXPECT_EQ(HomeId(signature::best_target(std::span(scores).subspan(r * 4, 4))),
              groups->homes.of_request[r % 4]);
  }
}

TEST(PatternsGroups, HomesOfANodeSplitTheNodesRequests) {
  const Requests past(96, 4, 3);
  ThreadPool pool(2);
  const auto groups =
      patterns_groups(past.input({2, 2}, Attention::kDataParallel), {.token_slack = 0.05}, pool);
  ASSERT_TRUE(groups);
  EXPECT_EQ(groups->assigner.targets(), 4u);
  EXPECT_LE(groups->home_max_over_mean, 1.05 * 1.05 + 1e-9);
  std::vector<std::uint32_t> home_of;
  for (const HomeId home : groups->homes.of_request)
    home_of.push_back(static_cast<std::uint32_t>(index(home)));
  EXPECT_DOUBLE_EQ(groups->home_max_over_mean,
                   load_over_share(past.tokens, home_of, signature::equal_shares(4)));
}

TEST(PatternsGroups, AreTheSameOnOneThreadAndMany) {
  const Requests past(90, 6, 4);
  ThreadPool one(1), three(3);
  const auto a = patterns_groups(past.input({3, 2}, Attention::kDataParallel), {.seed = 5}, one);
  const auto b = patterns_groups(past.input({3, 2}, Attention::kDataParallel), {.seed = 5}, three);
  ASSERT_TRUE(a && b);
  EXPECT_EQ(a->homes.of_request, b->homes.of_request);
  EXPECT_EQ(a->assigner, b->assigner);
}

TEST(PatternsGroups, FewerRequestsThanHomesAreRefused) {
  const Requests past(3, 3, 1);
  ThreadPool pool(1);
  const auto groups = patterns_groups(past.input({2, 2}, Attention::kDataParallel), {}, pool);
  ASSERT_FALSE(groups);
  EXPECT_EQ(groups.error().kind, ErrorKind::kBadInput);
  EXPECT_NE(groups.error().message.find("3 requests for 4 homes"), std::string::npos);
}

}  // namespace
}  // namespace moesaic::grouping
