#include "gateway/expert_load.hpp"

#include <cmath>

#include "core/random.hpp"
#include "routing/marginal.hpp"

namespace moesaic::gateway {
namespace {

using routing::RequestId;
using routing::WorkerId;

constexpr std::size_t kLayers = 2, kExperts = 8;

/// Believes a request's own frequencies, whatever their number.
signature::Predictor believing() {
  signature::Predictor predictor;
  predictor.layers = kLayers;
  predictor.experts = kExperts;
  predictor.mean.assign(kLayers * kExperts, 0.25f);
  predictor.trust.assign(kLayers, 1.0f);
  predictor.strength.assign(kLayers, 1e-6f);
  return predictor;
}

/// Counts of a request of 4 tokens that always use experts [from, from + 2) of each layer.
std::vector<float> counts(std::size_t from) {
  std::vector<float> out(kLayers * kExperts);
  for (std::size_t layer = 0; layer < kLayers; ++layer) {
    out[layer * kExperts + from] = out[layer * kExperts + from + 1] = 4;
  }
  return out;
}

routing::Request request(std::uint64_t id, const std::vector<float>& usage) {
  routing::Request out;
  out.id = RequestId{id};
  out.counts = usage;
  out.counted_tokens = usage.empty() ? 0 : 4;
  return out;
}

TEST(ExpertLoad, CountsWhatABatchReadsAndWhatANewcomerShares) {
  ExpertLoad load(believing());
  load.up(WorkerId{0});
  load.up(WorkerId{1});
  const auto first = load.placed(request(1, counts(0)), WorkerId{0});
  ASSERT_TRUE(first);
  EXPECT_NEAR(first->here, 0, 1e-6) << "nobody is there";
  EXPECT_NEAR(load.expected(WorkerId{0}), 4, 0.02) << "two experts of two layers";
  EXPECT_EQ(load.expected(WorkerId{1}), 0);
  const auto twin = load.placed(request(2, counts(0)), WorkerId{0});
  EXPECT_NEAR(twin->here, 1, 0.01) << "all its experts are read anyway";
  EXPECT_NEAR(twin->mean, 0.5, 0.01) << "at the other place none is";
  EXPECT_NEAR(load.expected(WorkerId{0}), 4, 0.02);
  const auto stranger = load.placed(request(3, counts(4)), WorkerId{0});
  EXPECT_NEAR(stranger->here, 0, 1e-6);
  EXPECT_NEAR(load.expected(WorkerId{0}), 8, 0.02);
}

TEST(ExpertLoad, ARequestMovesAndLeavesExactly) {
  ExpertLoad load(believing());
  load.up(WorkerId{0});
  load.up(WorkerId{1});
  load.placed(request(1, counts(0)), WorkerId{0});
  load.placed(request(1, counts(0)), WorkerId{1});
  EXPECT_EQ(load.expected(WorkerId{0}), 0);
  EXPECT_NEAR(load.expected(WorkerId{1}), 4, 0.02);
  load.finished(RequestId{1});
  load.finished(RequestId{1});
  load.finished(RequestId{77});
  EXPECT_EQ(load.expected(WorkerId{1}), 0);
}

TEST(ExpertLoad, WithoutUsageTheMeanCountsAndNothingIsTold) {
  ExpertLoad load(believing());
  load.up(WorkerId{0});
  EXPECT_FALSE(load.placed(request(1, {}), WorkerId{0}));
  EXPECT_NEAR(load.expected(WorkerId{0}), 16 * 0.25, 0.05);
  EXPECT_FALSE(load.placed(request(2, std::vector<float>(3)), WorkerId{0})) << "of another model";
}

TEST(ExpertLoad, APlaceThatGoesDownKeepsItsRequestsUntilTheyEnd) {
  ExpertLoad load(believing());
  load.up(WorkerId{0});
  load.up(WorkerId{1});
  load.placed(request(1, counts(0)), WorkerId{0});
  load.down(WorkerId{0});
  load.down(WorkerId{9});
  EXPECT_NEAR(load.placed(request(2, counts(0)), WorkerId{1})->mean, 0, 1e-6)
      << "who is down is no candidate";
  EXPECT_NEAR(load.expected(WorkerId{0}), 4, 0.02);
  load.up(WorkerId{0});
  load.finished(RequestId{1});
  EXPECT_EQ(load.expected(WorkerId{0}), 0);
}

TEST(ExpertLoad, SaysOfAPolicyThatKeepsExpertsWhatThePolicyItselfSays) {
  routing::MarginalOptions options{.predictor = believing()};
  options.step.per_expert = cost::Picoseconds(1'000'000);
  // By default it tells of the batch expected later, and with contrast.
  options.memory.share = 0;
  options.contrast = 0;
  const auto policy = routing::make_marginal(options);
  ASSERT_TRUE(policy->keeps_experts());
  ExpertLoad load(believing());
  for (std::uint32_t id = 0; id < 3; ++id) {
    policy->worker_up({.id = WorkerId{id}}, Nanoseconds(0));
    load.up(WorkerId{id});
  }
  Pcg32 random(5);
  for (std::uint64_t event = 0; event < 300; ++event) {
    if (random.below(3) == 0) {
      const RequestId gone{random.below(static_cast<std::uint32_t>(event + 1))};
      policy->finished(gone, Nanoseconds(0));
      load.finished(gone);
      continue;
    }
    const std::vector<float> usage = random.below(5) == 0 ? std::vector<float>() : counts(random.below(6));
    const routing::Decision decision = policy->admit(request(event, usage), Nanoseconds(0));
    ASSERT_TRUE(decision.worker);
    const auto told = load.placed(request(event, usage), *decision.worker);
    ASSERT_EQ(told.has_value(), decision.locality.has_value());
    if (told) {
      ASSERT_NEAR(told->here, decision.locality->here, 1e-5);
      ASSERT_NEAR(told->mean, decision.locality->mean, 1e-5);
    }
    for (std::uint32_t id = 0; id < 3; ++id) {
      ASSERT_NEAR(load.expected(WorkerId{id}), policy->expected_experts(WorkerId{id}), 1e-3);
    }
  }
}

}  // namespace
}  // namespace moesaic::gateway
