// How far loads are from those of a plan, and what of that is chance.
#include "evaluate/drift.hpp"

#include <numeric>

#include "core/random.hpp"
#include "io/memory_files.hpp"
#include "trace/writer.hpp"

namespace moesaic::evaluate {
namespace {

const std::vector<LayerId> kLayers = {LayerId(0)};

Placement two_gpus(std::size_t experts) {
  std::vector<ExpertId> slots;
  for (std::size_t e = 0; e < experts; ++e) slots.push_back(ExpertId(e));
  return *Placement::make({.nodes = 2, .gpus_per_node = 1}, kLayers, experts, experts / 2, slots);
}

TEST(Drift, EqualSharesAreNoDriftWhateverTheirScale) {
  const std::vector<double> planned = {1, 2, 3, 4}, observed = {10, 20, 30, 40};
  const Drift found = drift(two_gpus(4), planned, observed);
  EXPECT_NEAR(found.distance, 0, 1e-12);
  EXPECT_NEAR(found.planned_gpu_max_over_mean, 7.0 / 5, 1e-6);
  EXPECT_NEAR(found.observed_gpu_max_over_mean, 7.0 / 5, 1e-6);
  EXPECT_GT(found.noise, 0);
}

TEST(Drift, DistanceIsTheShareOfLoadThatMoved) {
  const Drift found =
      drift(two_gpus(4), std::vector<double>{10, 10, 10, 10}, std::vector<double>{20, 10, 10, 0});
  EXPECT_NEAR(found.distance, 0.25, 1e-12);
  EXPECT_NEAR(found.observed_gpu_max_over_mean, 1.5, 1e-6);
  EXPECT_NEAR(found.planned_gpu_max_over_mean, 1, 1e-6);
  ASSERT_EQ(found.layers.size(), 1u);
  EXPECT_NEAR(found.layers[0].distance, 0.25, 1e-12);
}

TEST(Drift, SharesHaveNoSampleAndAnEmptyLayerIsWhollyOther) {
  EXPECT_EQ(drift(two_gpus(2), std::vector<double>{0.4, 0.6}, std::vector<double>{0.5, 0.5}).noise, 0);
  EXPECT_EQ(drift(two_gpus(2), std::vector<double>{4, 6}, std::vector<double>{0, 0}).distance, 1);
}

RC_GTEST_PROP(Drift, TwoSamplesOfOneDistributionAreAsFarApartAsTheNoiseSays, (std::uint64_t seed)) {
  constexpr std::size_t kExperts = 64, kRows = 4000;
  Pcg32 random(seed);
  std::vector<double> a(kExperts), b(kExperts);
  for (std::size_t i = 0; i < kRows; ++i) {
    // Skewed: the least of two draws.
    a[std::min(random.below(kExperts), random.below(kExperts))] += 1;
    b[std::min(random.below(kExperts), random.below(kExperts))] += 1;
  }
  const Drift found = drift(two_gpus(kExperts), a, b);
  RC_ASSERT(found.distance > found.noise * 0.5);
  RC_ASSERT(found.distance < found.noise * 1.6);
}

class Observed : public ::testing::Test {
 protected:
  /// Expert = token index mod 5, one layer, k = 1: requests of 2 prefill and 4 decode tokens, then 2
  /// anonymous.
  Result<trace::Trace> tokens(std::size_t requests) {
    const ModelShape shape{.model = "m", .model_layers = 1, .layers = kLayers, .experts = 5, .top_k = 1};
    MOESAIC_ASSIGN(auto writer, trace::TokenWriter::open(files_, "t.zarr", shape, {.fingerprint = "x"}));
    std::size_t token = 0;
    const auto experts = [&](std::size_t n) {
      std::vector<ExpertId> out;
      for (std::size_t i = 0; i < n; ++i) out.push_back(ExpertId(token++ % 5));
      return out;
    };
    for (std::size_t r = 0; r < requests; ++r) {
      MOESAIC_TRY(writer.add_request(
          {.id = std::to_string(r), .domain = "", .prefill_tokens = 2, .decode_tokens = 4, .arrival_ns = {}},
          experts(6)));
    }
    MOESAIC_TRY(writer.add_anonymous(2, experts(2)));
    MOESAIC_TRY(writer.finish(5, {.format = "test", .sources = {}, .anomalies = {}}));
    return trace::Trace::open(files_, "t.zarr");
  }

  io::MemoryFiles files_;
  ThreadPool pool_{2};
};

TEST_F(Observed, PhasesAreCountedApartAndAnonymousTokensInBoth) {
  const auto trace = tokens(5);
  ASSERT_TRUE(trace) << trace.error().message;
  const auto decode = observed_loads(*trace, Phase::kDecode, 3, pool_);
  ASSERT_TRUE(decode) << decode.error().message;
  EXPECT_EQ(decode->rows, 5u * 4 + 2);
  std::vector<double> expected(5);
  for (std::size_t t = 0; t < 32; ++t) {
    if (t >= 30 || t % 6 >= 2) expected[t % 5] += 1;
  }
  EXPECT_EQ(decode->total, expected);
  ASSERT_EQ(decode->parts.size(), 3u);
  const auto sum = [](const std::vector<double>& v) { return std::accumulate(v.begin(), v.end(), 0.0); };
  EXPECT_EQ(sum(decode->parts[0]), 8);  // tokens 0 to 7 of 22 are in the first third
  EXPECT_EQ(sum(decode->parts[1]) + sum(decode->parts[2]), 14);
  const auto all = observed_loads(*trace, Phase::kAll, 1, pool_);
  ASSERT_TRUE(all) << all.error().message;
  EXPECT_EQ(all->rows, 32u);
}

TEST_F(Observed, APhaseTheTraceHasNotFallsBackToAllAndNothingIsAnError) {
  const ModelShape shape{.model = "m", .model_layers = 1, .layers = kLayers, .experts = 5, .top_k = 1};
  auto writer = trace::TokenWriter::open(files_, "p.zarr", shape, {.fingerprint = "x"});
  ASSERT_TRUE(writer);
  const std::vector<ExpertId> one = {ExpertId(3)};
  ASSERT_TRUE(writer->add_request(
      {.id = "a", .domain = "", .prefill_tokens = 1, .decode_tokens = 0, .arrival_ns = {}}, one));
  ASSERT_TRUE(writer->finish(5, {.format = "test", .sources = {}, .anomalies = {}}));
  const auto trace = trace::Trace::open(files_, "p.zarr");
  ASSERT_TRUE(trace) << trace.error().message;
  const auto found = observed_loads(*trace, Phase::kDecode, 4, pool_);
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(found->phase, Phase::kAll);
  EXPECT_EQ(found->total, (std::vector<double>{0, 0, 0, 1, 0}));
  EXPECT_EQ(found->parts.size(), 1u);
}

}  // namespace
}  // namespace moesaic::evaluate
