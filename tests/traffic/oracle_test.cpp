// The reference objective against a brute-force oracle on random small cases.
#include <numeric>

#include "core/random.hpp"
#include "support/traffic_oracle.hpp"
#include "traffic/score.hpp"

namespace moesaic::traffic {
namespace {

testing::OracleCase random_case(std::uint64_t seed) {
  Pcg32 random(seed);
  const auto upto = [&](int most) {
    return 1 + static_cast<int>(random.below(static_cast<std::uint32_t>(most)));
  };
  testing::OracleCase c;
  c.nodes = upto(4);
  c.gpus_per_node = upto(3);
  c.experts = upto(9);
  const int gpus = c.nodes * c.gpus_per_node;
  c.slots_per_gpu = (c.experts + gpus - 1) / gpus + static_cast<int>(random.below(3));
  c.layer = static_cast<int>(random.below(50));
  c.seed = random.next();
  c.tensor_parallel = random.below(2) == 1;
  c.requests_per_home = upto(3);
  for (int s = 0; s < gpus * c.slots_per_gpu; ++s) {
    c.slots.push_back(s < c.experts ? s
                                    : static_cast<int>(random.below(static_cast<std::uint32_t>(c.experts))));
  }
  shuffle(std::span(c.slots), random);
  const int k = std::min(c.experts, upto(4)), requests = upto(6);
  const int homes = c.tensor_parallel ? c.nodes : gpus;
  for (int r = 0; r < requests; ++r) {
    testing::OracleRequest request;
    request.id = static_cast<std::uint32_t>(r * 7 + 1);
    request.home = static_cast<int>(random.below(static_cast<std::uint32_t>(homes)));
    request.first_position = random.below(20);
    const std::uint32_t tokens = random.below(8);
    for (std::uint32_t t = 0; t < tokens; ++t) {
      std::vector<int> all(static_cast<std::size_t>(c.experts));
      std::iota(all.begin(), all.end(), 0);
      shuffle(std::span(all), random);
      all.resize(static_cast<std::size_t>(k));
      if (random.below(10) == 0) all[0] = -1;
      request.tokens.push_back(all);
    }
    c.requests.push_back(request);
  }
  return c;
}

RC_GTEST_PROP(Traffic, AgreesWithTheBruteForceOracle, (std::uint64_t seed)) {
  testing::OracleCase c = random_case(seed);
  const Topology topology{.nodes = static_cast<std::size_t>(c.nodes),
                          .gpus_per_node = static_cast<std::size_t>(c.gpus_per_node)};
  std::vector<ExpertId> slots, experts;
  for (const int slot : c.slots) slots.push_back(ExpertId(slot));
  std::vector<Segment> segments;
  std::size_t k = 1, tokens = 0;
  for (const testing::OracleRequest& request : c.requests) {
    segments.push_back({.request = request.id,
                        .home = HomeId(request.home),
                        .position = request.first_position,
                        .begin = tokens,
                        .count = request.tokens.size()});
    tokens += request.tokens.size();
    for (const auto& token : request.tokens) {
      k = token.size();
      for (const int expert : token) experts.push_back(expert < 0 ? kMissingExpert : ExpertId(expert));
    }
  }
  for (const dispatch::Rule rule : dispatch::kRules) {
    c.rule = dispatch::name(rule);
    const Objective objective{
        .rule = rule,
        .attention = c.tensor_parallel ? Attention::kTensorParallel : Attention::kDataParallel,
        .seed = c.seed};
    const Steps steps = make_steps(segments, topology.homes(objective.attention),
                                   static_cast<std::size_t>(c.requests_per_home));
    const LayerTraffic got = score_layer({LayerId(c.layer), k, experts, segments}, topology,
                                         static_cast<std::size_t>(c.experts), slots, objective, &steps);
    const testing::OracleResult want = testing::traffic_oracle(c);
    RC_ASSERT(got.dedup.node == want.dedup_node);
    RC_ASSERT(got.dedup.gpu == want.dedup_gpu);
    RC_ASSERT(got.dedup.padded_node == want.dedup_padded);
    RC_ASSERT(got.per_expert.node == want.per_expert_node);
    RC_ASSERT(got.per_expert.gpu == want.per_expert_gpu);
    RC_ASSERT(got.per_expert.padded_node == want.per_expert_padded);
    RC_ASSERT(got.gpu_rows == want.gpu_rows);
    RC_ASSERT(got.activated_slots == want.activated);
    const LayerTraffic without = score_layer({LayerId(c.layer), k, experts, segments}, topology,
                                             static_cast<std::size_t>(c.experts), slots, objective);
    RC_ASSERT(without.dedup.node == got.dedup.node);
    RC_ASSERT(without.gpu_rows == got.gpu_rows);
  }
}

TEST(Steps, ABatchEndsWithItsLongestRequestAndHomesRunInLockstep) {
  const std::vector<Segment> segments = {{.request = 0, .home = HomeId(0), .begin = 0, .count = 3},
                                         {.request = 1, .home = HomeId(0), .begin = 3, .count = 1},
                                         {.request = 2, .home = HomeId(0), .begin = 4, .count = 2},
                                         {.request = 3, .home = HomeId(1), .begin = 6, .count = 1}};
  const Steps steps = make_steps(segments, 2, 2);
  EXPECT_EQ(steps.of_token, (std::vector<std::uint32_t>{0, 1, 2, 0, 3, 4, 0}));
  EXPECT_EQ(steps.count, 5u);
}

}  // namespace
}  // namespace moesaic::traffic
