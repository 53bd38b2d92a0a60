// Sweeps over the sample: the same bytes on any number of threads, estimates, loads, and what is refused.
#include "simulate/sweep.hpp"

#include <cmath>

#include "simulate/load.hpp"
#include "support/imported.hpp"
#include "support/paths.hpp"

namespace moesaic::simulate {
namespace {

using namespace std::chrono_literals;

struct Sample {
  testing::TemporaryFolder folder;
  ClusterFile file;

  Sample() {
    ingest::ImportOptions options;
    options.output = folder / "mini.zarr";
    const std::vector<std::string> sources = {moesaic::testing::source_path("samples/moesaic-mini")};
    const auto done = ingest::import_trace(io::real_files(), sources, options);
    EXPECT_TRUE(done) << done.error().message;
    auto read = read_cluster_file(io::real_files(),
                                  moesaic::testing::source_path("samples/clusters/moesaic-mini-4d.yaml"));
    EXPECT_TRUE(read) << read.error().message;
    file = *std::move(read);
    file.trace = options.output;
    file.seeds = 3;
    file.first_seed = 50;
    file.policies = {"jsq", "eldr", "marginal"};
    file.cluster.warm_up = 2s;
    file.cluster.measure = 4s;
    file.predict_folds = 0;  // a fit in place of eleven
  }
};

/// The sample cluster, smaller.
const Sample& sample() {
  static const Sample made;
  return made;
}

SweepOutcome swept(const ClusterFile& file, std::size_t threads) {
  ThreadPool pool(threads);
  auto out = sweep(io::real_files(), file, pool);
  EXPECT_TRUE(out) << out.error().message;
  return out ? *std::move(out) : SweepOutcome{};
}

TEST(Sweep, OneAndTwoThreadsGiveTheSameBytes) {
  const ClusterFile& file = sample().file;
  const SweepOutcome one = swept(file, 1), two = swept(file, 2);
  EXPECT_EQ(to_json(one, file).dump(), to_json(two, file).dump());
  ASSERT_EQ(one.loads.size(), 1u);
  ASSERT_EQ(one.loads[0].policies.size(), 3u);
  EXPECT_EQ(one.loads[0].policies[2].runs.size(), 3u);
}

TEST(Sweep, ServedRequestsMayTeachThoseOfOtherFolds) {
  ClusterFile file = sample().file;
  file.policies = {"jsq", "marginal", "marginal-oracle"};
  file.seeds = 1;
  const SweepOutcome alone = swept(file, 2);
  file.predict_folds = 5;
  const SweepOutcome folded = swept(file, 2);
  EXPECT_EQ(to_json(folded, file).dump(), to_json(swept(file, 1), file).dump());
  ASSERT_EQ(folded.notes.size(), alone.notes.size() + 1);
  EXPECT_NE(folded.notes.back().find("4 of 5 parts"), std::string::npos) << folded.notes.back();
  const auto experts = [](const SweepOutcome& of, std::size_t policy) {
    return of.loads[0].policies[policy].runs[0].active_experts_per_step;
  };
  EXPECT_EQ(experts(folded, 0), experts(alone, 0));
  EXPECT_NE(experts(folded, 1), experts(alone, 1));
  EXPECT_EQ(experts(folded, 2), experts(alone, 2));
}

TEST(Sweep, WhatDecodersTellReachesThePolicyThatRemembers) {
  ClusterFile file = sample().file;
  file.policies = {"jsq", "marginal"};
  file.seeds = 1;
  file.cluster.decode.tells_experts = false;
  const SweepOutcome silent = swept(file, 2);
  file.cluster.decode.tells_experts = true;
  const SweepOutcome told = swept(file, 2);
  const auto experts = [](const SweepOutcome& of, std::size_t policy) {
    return of.loads[0].policies[policy].runs[0].active_experts_per_step;
  };
  EXPECT_EQ(experts(told, 0), experts(silent, 0));
  EXPECT_NE(experts(told, 1), experts(silent, 1));
}

TEST(Sweep, RunsAsManyRequestsInADecoderAsAsked) {
  ClusterFile file = sample().file;
  file.policies = {"jsq"};
  file.loads = {3, 6};
  file.cluster.measure = 20s;
  const SweepOutcome out = swept(file, 2);
  for (const LoadOutcome& load : out.loads)
    EXPECT_NEAR(estimate(load.policies[0], &Figures::running).mean / load.load, 1, 0.1) << load.load;
}

TEST(Sweep, LoadsAreSharesOfTheCapacityAndRatesAreThemselves) {
  ClusterFile file = sample().file;
  file.policies = {"round-robin"};
  file.seeds = 1;
  file.unit = LoadUnit::kLoads;
  file.loads = {0.25};
  SweepOutcome out = swept(file, 1);
  EXPECT_DOUBLE_EQ(out.loads[0].rate, 0.25 * out.capacity);
  file.unit = LoadUnit::kRates;
  out = swept(file, 1);
  EXPECT_EQ(out.loads[0].rate, 0.25);
}

TEST(Sweep, ChangesAreAgainstTheSameSeed) {
  PolicyOutcome base{.name = "jsq", .runs = std::vector<Figures>(2)}, other = base;
  base.runs[0].tpot_p50_ms = 10, base.runs[1].tpot_p50_ms = 20;
  other.runs[0].tpot_p50_ms = 9, other.runs[1].tpot_p50_ms = 18;
  const Estimate less = change(other, base, &Figures::tpot_p50_ms);
  EXPECT_NEAR(less.mean, -0.1, 1e-12);
  EXPECT_NEAR(less.half, 0, 1e-12);
}

TEST(Sweep, IntervalsAreStudents) {
  const Estimate value = estimate(std::vector<double>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10});
  EXPECT_DOUBLE_EQ(value.mean, 5.5);
  EXPECT_NEAR(value.half, 2.262 * std::sqrt(55.0 / 6 / 10), 1e-9);
  EXPECT_EQ(estimate(std::vector<double>{3}).half, 0);
}

TEST(Sweep, WhatDoesNotFitIsRefused) {
  ThreadPool pool(1);
  const auto refused = [&](auto alter, const char* part) {
    ClusterFile file = sample().file;
    file.seeds = 1;
    alter(file);
    const auto out = sweep(io::real_files(), file, pool);
    ASSERT_FALSE(out) << part;
    EXPECT_EQ(out.error().kind, ErrorKind::kBadInput);
    EXPECT_NE(out.error().message.find(part), std::string::npos) << out.error().message;
  };
  refused([](ClusterFile& f) { f.policies = {"psychic"}; }, "psychic");
  refused([](ClusterFile& f) { f.cluster.mix = {.kind = Mix::Kind::kSkewed, .domain = "law"}; }, "law");
  refused([](ClusterFile& f) { f.cluster.decode.workers = 150; }, "left to learn from");
  refused(
      [](ClusterFile& f) {
        f.loads = {20};  // batches end at 16
        f.cluster.prefill = {};
      },
      "no rate keeps 20");
  refused([](ClusterFile& f) { f.cluster.prefill.fixed = 1s; }, "prefill pool serves");
  refused(
      [](ClusterFile& f) {
        f.cluster.decode.plan =
            DecoderPlan{.placement = *Placement::make(Topology{.nodes = 1, .gpus_per_node = 2}, {LayerId{0}},
                                                      2, 1, {ExpertId{0}, ExpertId{1}})};
      },
      "other layers or experts");
}

}  // namespace
}  // namespace moesaic::simulate
