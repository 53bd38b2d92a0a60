// SGLang's .pt dumps and TensorRT-LLM's statistics, against the shared fixtures, their expected.json, and
// small files made by tests/data/make_fixtures.py.
#include <algorithm>
#include <numeric>

#include "io/json.hpp"
#include "support/damage.hpp"
#include "support/imported.hpp"
#include "support/shared_data.hpp"

namespace moesaic::ingest {
namespace {

using moesaic::testing::Imported;
using moesaic::testing::of_format;
using moesaic::testing::shared_data;
using moesaic::testing::test_data;
using moesaic::testing::with_shape;

Imported shared(const std::string& path) { return Imported({shared_data(path)}); }
Imported fixture(const std::string& path, ImportOptions options = {}) {
  return Imported({test_data("ingest/" + path)}, std::move(options));
}

void expect_refused(const Imported& imported, const std::string& part) {
  ASSERT_FALSE(imported) << part;
  EXPECT_NE(imported.error().find(part), std::string::npos) << imported.error();
  EXPECT_EQ(imported.left(), 0u) << imported.error();
}

Json expected(const std::string& key) {
  const auto json = io::read_json(io::real_files(), shared_data("formats/expected.json"));
  return *json->find(key);
}

double sum(const std::vector<double>& counts) { return std::accumulate(counts.begin(), counts.end(), 0.0); }

TEST(SglangStat, DropsUnusedBufferRowsAndDenseLayers) {
  MOESAIC_NEEDS_SHARED("formats/sglang-stat.pt");
  std::vector<std::vector<double>> rows;
  for (const char* name : {"formats/sglang-stat.pt", "formats/sglang-stat-strided.pt"}) {
    const Imported trace = shared(name);
    ASSERT_TRUE(trace) << trace.error();
    EXPECT_EQ(trace.summary().format, "sglang-stat");
    EXPECT_EQ(trace.trace().shape().model_layers, 61u);
    EXPECT_EQ(trace.trace().shape().layers.front(), LayerId{3});
    EXPECT_EQ(trace.trace().shape().layers.size(), 58u);
    ASSERT_EQ(trace.trace().count_rows().size(), 3u);
    EXPECT_EQ(trace.anomalies("dropped"), 1u);
    double total = 0;
    for (std::size_t row = 0; row < 3; ++row) total += sum(trace.counts(row));
    double want = 0;
    ASSERT_TRUE(expected("sglang-stat.pt").find("sum")->to_double(want));
    EXPECT_EQ(total, want);
    rows.push_back(trace.counts(2));
    EXPECT_EQ(rows.back(), rows.front());
  }
}

TEST(SglangStat, AFullBufferIsSaidToBeInNoOrder) {
  const Imported full = fixture("stat-full.pt");
  ASSERT_TRUE(full) << full.error();
  EXPECT_EQ(full.counts(1), (std::vector<double>{5, 6, 7, 8}));
  EXPECT_GE(full.anomalies("assumed"), 2u);
  const Imported matrix = fixture("stat-matrix.pt");
  ASSERT_TRUE(matrix) << matrix.error();
  EXPECT_EQ(matrix.counts(0), (std::vector<double>{1, 2, 3, 4}));
  expect_refused(fixture("stat-negative.pt"), "element 0 is -1");
  expect_refused(fixture("per-pass", of_format("sglang-stat")), "without the key \"logical_count\"");
}

TEST(SglangPerToken, SplitsExtendPassesAndMakesIdsLogical) {
  MOESAIC_NEEDS_SHARED("formats/sglang-per-token-rank0.pt");
  const Imported trace = shared("formats/sglang-per-token-rank0.pt");
  ASSERT_TRUE(trace) << trace.error();
  EXPECT_EQ(trace.summary().format, "sglang-per-token");
  EXPECT_EQ(trace.trace().tokens(), 32u);
  EXPECT_EQ(trace.summary().requests + (trace.anomalies("anonymous") > 0 ? 1 : 0), 3u);
  EXPECT_EQ(trace.trace().shape().model_layers, 27u);
  EXPECT_EQ(trace.trace().shape().layers.size(), 26u);
  EXPECT_EQ(trace.trace().shape().experts, 64u);
  EXPECT_EQ(trace.trace().shape().top_k, 6u);
  const auto histogram = trace.histogram(0);
  const Json want = expected("sglang-per-token-rank0.pt");
  const Json::Array& counts = *want.find("layer1_logical_counts")->as_array();
  ASSERT_EQ(counts.size(), histogram.size());
  for (std::size_t e = 0; e < counts.size(); ++e) EXPECT_EQ(counts[e], Json(histogram[e])) << e;
}

TEST(SglangPerToken, RepeatedRanksPaddingAndDecodeRowsAreReported) {
  const Imported trace = fixture("per-token");
  ASSERT_TRUE(trace) << trace.error();
  EXPECT_EQ(trace.trace().tokens(), 5u);
  EXPECT_EQ(trace.summary().requests, 2u);
  EXPECT_EQ(trace.trace().requests().prefill_tokens, (std::vector<std::uint32_t>{2, 1}));
  EXPECT_EQ(trace.trace().requests().id[0], "rank0/pass1/0");
  EXPECT_EQ(trace.anomalies("anonymous"), 2u);
  EXPECT_EQ(trace.anomalies("dropped"), 3u);  // rank 1 recorded the extend pass again
  EXPECT_EQ(trace.trace().shape().layers, (std::vector<LayerId>{LayerId{1}, LayerId{2}}));
  const std::vector<ExpertId> want = {ExpertId{0}, ExpertId{1}, ExpertId{1}, ExpertId{2}, ExpertId{0},
                                      ExpertId{3}, ExpertId{0}, ExpertId{1}, ExpertId{3}, kMissingExpert};
  EXPECT_EQ(trace.layer(0), want);
}

TEST(SglangPerToken, SaysWhatIsWrongAndLeavesNothing) {
  expect_refused(fixture("per-token-bad-lengths.pt"), "extend_seq_lens sum to 2, expected the 1 tokens");
  expect_refused(fixture("per-token-bad-slot.pt"), "slot 6, expected -1 to 5");
  expect_refused(fixture("per-token-empty.pt", of_format("sglang-per-token")), "no record with a token");
  expect_refused(fixture("stat-full.pt", of_format("sglang-per-token")), "without the key \"last_physical");
  expect_refused(fixture("per-pass/rank0.pt", of_format("sglang-per-token")),
                 "without the key \"topk_ids_of_layer\"");
  ModelShape other;
  other.model = "other";
  other.experts = 3;
  expect_refused(fixture("per-token", with_shape(other)), "holds expert 3, expected 0 to 2");
}

TEST(SglangPerPass, SumsRanksAndSlots) {
  const Imported trace = fixture("per-pass");
  ASSERT_TRUE(trace) << trace.error();
  EXPECT_EQ(trace.summary().format, "sglang-per-pass");
  ASSERT_EQ(trace.trace().count_rows().size(), 2u);
  // Slots 0..5 of layer 1 hold 0..5 in pass 7; slots 4 and 5 are experts 0 and 1.
  EXPECT_EQ(trace.counts(0), (std::vector<double>{4, 6, 2, 3, 16, 18, 8, 9}));
  EXPECT_EQ(trace.counts(1), (std::vector<double>{8, 10, 4, 5, 20, 22, 10, 11}));
  EXPECT_GE(trace.anomalies("assumed"), 1u);
}

TEST(SglangPerPass, RanksOfAnotherMapAreRefused) {
  expect_refused(Imported({test_data("ingest/per-pass/rank0.pt"), test_data("ingest/per-pass-other-map.pt")}),
                 "another last_physical_to_logical_map");
  expect_refused(fixture("stat-full.pt", of_format("sglang-per-pass")), "without the key \"last_physical");
}

TEST(TrtllmStatistics, SumsRanksByIteration) {
  MOESAIC_NEEDS_SHARED("formats/trtllm-statistics");
  const Imported trace = shared("formats/trtllm-statistics");
  ASSERT_TRUE(trace) << trace.error();
  EXPECT_EQ(trace.summary().format, "trtllm-statistics");
  EXPECT_EQ(trace.trace().shape().experts, 256u);
  EXPECT_EQ(trace.trace().shape().top_k, 8u);
  EXPECT_EQ(trace.trace().shape().layers,
            (std::vector<LayerId>{LayerId{3}, LayerId{4}, LayerId{5}, LayerId{6}}));
  ASSERT_EQ(trace.trace().count_rows().size(), 2u);
  double layer3 = 0;
  for (std::size_t row = 0; row < 2; ++row) {
    const auto counts = trace.counts(row);
    layer3 += std::accumulate(counts.begin(), counts.begin() + 256, 0.0);
  }
  EXPECT_EQ((*expected("trtllm-statistics").find("layer3_total")->as_array())[0],
            Json(static_cast<int>(layer3)));
}

TEST(TrtllmStatistics, RawIdsAreTokensWithoutRequests) {
  const Imported trace = fixture("trtllm-raw");
  ASSERT_TRUE(trace) << trace.error();
  EXPECT_EQ(trace.trace().tokens(), 3u);
  EXPECT_EQ(trace.summary().requests, 0u);
  EXPECT_EQ(trace.anomalies("anonymous"), 3u);
  EXPECT_EQ(trace.anomalies("dropped"), 1u);
  EXPECT_EQ(trace.histogram(1), (std::vector<std::int64_t>{1, 2, 1, 2}));
  EXPECT_EQ(trace.trace().shape().layers, (std::vector<LayerId>{LayerId{1}, LayerId{3}}));
}

TEST(TrtllmStatistics, SaysWhatIsWrong) {
  expect_refused(fixture("trtllm-gap"), "iteration 6 does not have the same 2 layers");
  expect_refused(fixture("trtllm-width"), "expected [4] as meta_info.json says");
  expect_refused(fixture("trtllm-name"), "tensor \"total\"");
  expect_refused(fixture("trtllm-raw/rank0.safetensors", of_format("trtllm-statistics")),
                 "no meta_info.json");
  expect_refused(fixture("trtllm-raw/meta_info.json"), "no rank*.safetensors");
}

TEST(EngineDumps, EveryCutOrFlippedDumpIsRefusedOrReadWithoutACrash) {
  const moesaic::testing::TemporaryFolder folder;
  for (const char* name : {"stat-full.pt", "per-token/rank0.pt", "eldr.npz"}) {
    const std::string good = moesaic::testing::read_bytes(test_data(std::string("ingest/") + name));
    const std::string path = folder / (std::string(name).ends_with("z") ? "x.npz" : "x.pt");
    for (std::size_t n = 0; n < good.size(); n += 97) {
      ASSERT_TRUE(
          (*io::real_files().create(path))->append(io::as_bytes(std::string_view(good).substr(0, n))));
      expect_refused(Imported({path}), path);
    }
  }
}

}  // namespace
}  // namespace moesaic::ingest
