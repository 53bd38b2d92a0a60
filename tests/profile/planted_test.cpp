// Traces whose structure is planted, so that every figure has a closed form; and the ranks that share the
// work.
#include <cmath>
#include <functional>

#include "comm/thread_ranks.hpp"
#include "core/random.hpp"
#include "io/memory_files.hpp"
#include "profile/comparison.hpp"
#include "profile/in_words.hpp"
#include "profile/profile.hpp"
#include "trace/writer.hpp"

namespace moesaic::profile {
namespace {

struct Planted {
  std::size_t layers = 2, experts = 8, top_k = 2, requests = 32;
  std::uint32_t prefill = 0, decode = 16;
  /// Experts of a token: request, token of it, layer, place among k.
  std::function<std::size_t(std::size_t, std::size_t, std::size_t, std::size_t)> expert;
  std::function<std::string(std::size_t)> domain = [](std::size_t) { return std::string(); };
};

Result<trace::Trace> store(io::FileSystem& files, const Planted& planted) {
  ModelShape shape{.model = "planted",
                   .model_layers = planted.layers,
                   .layers = {},
                   .experts = planted.experts,
                   .top_k = planted.top_k};
  for (std::size_t l = 0; l < planted.layers; ++l) shape.layers.push_back(static_cast<LayerId>(l));
  MOESAIC_ASSIGN(trace::TokenWriter writer,
                 trace::TokenWriter::open(files, "t.zarr", shape, {.fingerprint = "planted"}));
  for (std::size_t r = 0; r < planted.requests; ++r) {
    std::vector<ExpertId> ids;
    for (std::size_t t = 0; t < planted.prefill + planted.decode; ++t) {
      for (std::size_t l = 0; l < planted.layers; ++l) {
        for (std::size_t i = 0; i < planted.top_k; ++i)
          ids.push_back(ExpertId(static_cast<std::uint16_t>(planted.expert(r, t, l, i))));
      }
    }
    MOESAIC_TRY(writer.add_request({.id = "r" + std::to_string(r),
                                    .domain = planted.domain(r),
                                    .prefill_tokens = planted.prefill,
                                    .decode_tokens = planted.decode},
                                   ids));
  }
  MOESAIC_TRY(writer.finish(planted.experts, {.format = "made", .sources = {}, .anomalies = {}}));
  return trace::Trace::open(files, "t.zarr");
}

const Options kSmall{.windows = 4, .gpus = 2, .nodes = 4, .clusters = 4, .batches = {4, 8}, .steps = 32};

Profile profiled(const Planted& planted) {
  io::MemoryFiles files;
  const auto trace = store(files, planted);
  EXPECT_TRUE(trace) << trace.error().message;
  ThreadPool pool(1);
  auto result = profile_trace(*trace, kSmall, pool);
  EXPECT_TRUE(result) << result.error().message;
  return *std::move(result);
}

/// Four domains of four experts each, every domain even over its own.
Planted four_domains() {
  return {.layers = 2,
          .experts = 16,
          .top_k = 2,
          .requests = 64,
          .prefill = 8,
          .decode = 16,
          .expert = [](std::size_t r, std::size_t t, std::size_t,
                       std::size_t i) { return 4 * (r % 4) + (t + i) % 4; },
          .domain = [](std::size_t r) { return "domain " + std::to_string(r % 4); }};
}

TEST(PlantedDomains, AreOneBitApartAndFoundWithoutTheirLabels) {
  const Profile p = profiled(four_domains());
  ASSERT_EQ(p.domains.size(), 4u);
  for (std::size_t a = 0; a < 4; ++a) {
    for (std::size_t b = 0; b < 4; ++b) {
      EXPECT_DOUBLE_EQ(p.between.jensen_shannon_bits[a * 4 + b], a == b ? 0 : 1);
      EXPECT_DOUBLE_EQ(p.between.cosine[a * 4 + b], a == b ? 1 : 0);
    }
  }
  for (const Merge& merge : p.tree.merges) EXPECT_DOUBLE_EQ(merge.height, 1);
  EXPECT_NEAR(p.clusters.agreement, 1, 1e-12);
  EXPECT_NEAR(p.clusters.within, 1, 1e-6);
  EXPECT_EQ(p.generic.share, 0);
  EXPECT_TRUE(std::isinf(p.over_used[0][0].ratio));
  EXPECT_DOUBLE_EQ(p.over_used[0][0].share, 0.25);
  EXPECT_DOUBLE_EQ(p.main().average.max_over_mean, 1) << "even over all domains";
  EXPECT_DOUBLE_EQ(p.main().domains[0].max_over_mean, 4);
}

TEST(PlantedDomains, MakeGroupingWholeAndStepsOfOneDomainSmall) {
  const Profile p = profiled(four_domains());
  ASSERT_FALSE(p.grouping.steps.empty());
  EXPECT_DOUBLE_EQ(p.grouping.random, 0.75);
  EXPECT_NEAR(p.grouping.steps[0].bound, 0, 1e-12);
  EXPECT_NEAR(p.grouping.steps[0].group_bound, 0, 1e-12);
  EXPECT_NEAR(p.grouping.steps[0].held_out, 0, 1e-12);
  for (const StepsOfBatch& s : p.steps) {
    EXPECT_LE(s.same_kind.distinct, 4);
    EXPECT_GT(s.mixed.distinct, s.same_kind.distinct);
  }
  // Both phases use a domain's experts evenly.
  EXPECT_DOUBLE_EQ(p.correlation.pearson.mean, 1);
  EXPECT_DOUBLE_EQ(p.correlation.spearman.p10, 1);
  // After one token the picture is two of four experts: the closed form of Pearson over 16.
  const double x = 2.0 / 16, y = 4.0 / 16;
  EXPECT_NEAR(p.correlation.after[0].pearson, (2.0 / 16 - x * y) / std::sqrt((x - x * x) * (y - y * y)),
              1e-12);
  const auto words = in_words(p);
  const auto said =
      std::find_if(words.begin(), words.end(), [](const Remark& r) { return r.topic == "Grouping"; });
  ASSERT_NE(said, words.end());
  EXPECT_EQ(said->verdict, "pays");
}

TEST(PlantedPairs, HaveTheirLiftGapsAndAffinity) {
  // Token t chooses pair t mod 4 of 8 experts in layer 0, and the pair after it in layer 1.
  const Profile p = profiled({.expert = [](std::size_t, std::size_t t, std::size_t l, std::size_t i) {
    return 2 * ((t + l) % 4) + i;
  }});
  const Structure& s = p.structure;
  EXPECT_DOUBLE_EQ(s.uniform_lift, 8.0 / 14);
  EXPECT_DOUBLE_EQ(s.mean_lift, 4) << "P(a, b) = 1/4, P(a) = P(b) = 1/4";
  ASSERT_EQ(s.together.size(), 2u);
  ASSERT_EQ(s.together[0].strongest.size(), 4u);
  EXPECT_EQ(s.together[0].strongest[1].a, 2);
  EXPECT_EQ(s.together[0].strongest[1].b, 3);
  EXPECT_DOUBLE_EQ(s.information_bits, 2);
  EXPECT_DOUBLE_EQ(s.followed, 1);
  EXPECT_DOUBLE_EQ(s.followed_independent, 0.25);
  EXPECT_EQ(s.reuse, 0);
  EXPECT_DOUBLE_EQ(s.gaps[2], 0.75) << "12 of 16 tokens used the pair four tokens before";
  EXPECT_DOUBLE_EQ(s.first_uses, 0.25);
  EXPECT_DOUBLE_EQ(s.reuse_independent, 8 * 0.25 * 0.25 / 2);
}

TEST(PlantedDrift, IsAsFarAndAsDearAsPlanted) {
  // The first half of the requests is even over experts 0 to 3, the second over 4 and 5.
  const Profile p = profiled({.expert = [](std::size_t r, std::size_t t, std::size_t, std::size_t i) {
    return r < 16 ? 2 * (t % 2) + i : 4 + i;
  }});
  const Drift& d = p.drift;
  EXPECT_NEAR(d.between[0 * 4 + 1], 0, 1e-12);
  EXPECT_NEAR(d.between[1 * 4 + 2], 1, 1e-12);
  EXPECT_NEAR(d.by_lag[0], 1.0 / 3, 1e-12);
  EXPECT_NEAR(d.by_lag[1], 1, 1e-12);
  EXPECT_NEAR(d.half_life, 1.25, 1e-9);
  ASSERT_EQ(d.next.size(), 3u);
  EXPECT_DOUBLE_EQ(d.next[0].carried, 1);
  EXPECT_DOUBLE_EQ(d.next[1].carried, 2) << "the plan of window 1 has the idle experts 4 and 5 on one GPU";
  EXPECT_DOUBLE_EQ(d.next[1].own, 1);
  EXPECT_DOUBLE_EQ(d.next[1].contiguous, 2);
  EXPECT_NEAR(d.lost, 1.0 / 3, 1e-12);
}

TEST(PlantedIndependence, IsWhatTheIndependentFiguresSay) {
  // Two different experts of 16, each as likely, from a counter hash.
  const Profile p = profiled({.layers = 3,
                              .experts = 16,
                              .top_k = 2,
                              .requests = 128,
                              .decode = 64,
                              .expert = [](std::size_t r, std::size_t t, std::size_t l, std::size_t i) {
                                const std::uint64_t hash = counter_hash({r, t, l});
                                const std::size_t first = hash % 16;
                                return i == 0 ? first : (first + 1 + (hash >> 32) % 15) % 16;
                              }});
  EXPECT_LT(p.main().average.max_over_mean, 1.1);
  EXPECT_NEAR(p.structure.reuse, 2.0 / 16, 0.01);
  EXPECT_NEAR(p.structure.reuse_independent, 2.0 / 16, 0.001);
  EXPECT_NEAR(p.structure.mean_lift, 16.0 / 30, 0.02);
  EXPECT_LT(p.structure.information_bits, 0.02);
  EXPECT_LT(p.drift.lost, 0.05);
  for (const StepsOfBatch& s : p.steps) {
    EXPECT_NEAR(s.mixed.distinct, 16 * (1 - std::pow(1 - 2.0 / 16, static_cast<double>(s.batch))), 0.3);
    EXPECT_NEAR(s.mixed.distinct, s.mixed.distinct_independent, 0.3);
    EXPECT_NEAR(s.mixed.max_over_mean, s.mixed.max_over_mean_independent, 0.4);
  }
}

TEST(Ranks, ShareTheLayersAndSayTheSameBytes) {
  io::MemoryFiles files;
  const auto trace = store(files, four_domains());
  ASSERT_TRUE(trace) << trace.error().message;
  ThreadPool alone(1);
  const std::string expected = to_json(*profile_trace(*trace, kSmall, alone)).dump();
  for (const std::size_t ranks : {2u, 3u}) {
    const auto said = comm::run_thread_ranks(ranks, [&](comm::Comm& comm) -> Status {
      ThreadPool pool(1);
      MOESAIC_ASSIGN(const Profile p, profile_trace(*trace, kSmall, pool, comm));
      return to_json(p).dump() == expected ? Status{} : bad_input("other bytes");
    });
    for (const Status& status : said) EXPECT_TRUE(status) << status.error().message;
  }
}

TEST(Ranks, EndTogetherWithOneErrorWhereAShardIsMissing) {
  io::MemoryFiles files;
  const auto trace = store(files, four_domains());
  ASSERT_TRUE(trace) << trace.error().message;
  ASSERT_TRUE(files.remove_all("t.zarr/experts/c.0.0.0"));
  const auto statuses = comm::run_thread_ranks(3, [&](comm::Comm& comm) -> Status {
    ThreadPool pool(1);
    MOESAIC_TRY(profile_trace(*trace, kSmall, pool, comm));
    return {};
  });
  for (const Status& status : statuses) {
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().message, statuses[0].error().message);
    EXPECT_NE(status.error().message.find("c.0.0.0"), std::string::npos) << status.error().message;
  }
}

TEST(Progress, NamesEveryLayerOnce) {
  io::MemoryFiles files;
  const auto trace = store(files, four_domains());
  ASSERT_TRUE(trace) << trace.error().message;
  ThreadPool pool(2);
  std::vector<std::size_t> heard;
  Options options = kSmall;
  options.on_layer = [&](std::size_t done, std::size_t of) {
    EXPECT_EQ(of, 2u);
    heard.push_back(done);
  };
  ASSERT_TRUE(profile_trace(*trace, options, pool));
  EXPECT_EQ(heard, (std::vector<std::size_t>{1, 2}));
}

TEST(Comparison, OfATraceWithItselfFindsNothing) {
  const Profile p = profiled(four_domains());
  const Comparison c = compare(p, p);
  ASSERT_TRUE(c.same_shape);
  for (std::size_t l = 0; l < p.layers.size(); ++l) {
    EXPECT_NEAR(c.same.jensen_shannon_bits[l], 0, 1e-12);
    EXPECT_DOUBLE_EQ(c.same.cosine[l], 1);
    EXPECT_DOUBLE_EQ(c.same.shared_busy[l], 1);
    EXPECT_EQ(c.same.carried[l], c.same.own[l]);
  }
  EXPECT_NEAR(c.same.lost, 0, 1e-12);
  ASSERT_EQ(c.same.domains.size(), 4u);
  EXPECT_NEAR(c.same.domains[0].jensen_shannon_bits, 0, 1e-12);
}

TEST(Comparison, FindsThePlantedDifference) {
  // B is even over the eight experts that A never uses.
  const auto from = [](std::size_t first) {
    return profiled(
        {.experts = 16, .expert = [first](std::size_t, std::size_t t, std::size_t, std::size_t i) {
           return first + (2 * t + i) % 8;
         }});
  };
  const Comparison c = compare(from(0), from(8));
  EXPECT_NEAR(c.same.jensen_shannon_bits[0], 1, 1e-12);
  EXPECT_EQ(c.same.shared_busy[0], 0);
  EXPECT_DOUBLE_EQ(c.same.own[0], 1);
  EXPECT_DOUBLE_EQ(c.same.contiguous[0], 2);
  EXPECT_EQ(c.a.size(), c.b.size());
}

TEST(Comparison, OfOtherShapesSaysSoAndKeepsTheFigures) {
  const Profile small = profiled(
      {.expert = [](std::size_t, std::size_t t, std::size_t, std::size_t i) { return (t + i) % 8; }});
  const Profile large = profiled(four_domains());
  const Comparison c = compare(small, large);
  EXPECT_FALSE(c.same_shape);
  EXPECT_NE(c.cannot.find("2 x 8"), std::string::npos) << c.cannot;
  ASSERT_EQ(c.a.size(), c.b.size());
  for (std::size_t i = 0; i < c.a.size(); ++i) EXPECT_EQ(c.a[i].key, c.b[i].key);
  EXPECT_TRUE(to_json(c, small, large).find("same_experts")->is_null());
}

}  // namespace
}  // namespace moesaic::profile
