// The JSON formats on the shared fixtures and real traces, against what they must hold.
#include <numeric>

#include "core/thread_pool.hpp"
#include "ingest/import_fixture.hpp"
#include "io/json.hpp"
#include "support/shared_data.hpp"
#include "support/temporary_folder.hpp"

namespace moesaic::ingest {
namespace {

class SharedFormats : public ::testing::Test {
 protected:
  /// Imports `path` below the shared data and opens the store.
  Result<trace::Trace> import_shared(const std::vector<std::string>& paths, ImportOptions options = {}) {
    std::vector<std::string> sources;
    for (const std::string& path : paths) sources.push_back(testing::shared_data(path));
    options.output = folder_ / "t.zarr";
    options.force = true;
    MOESAIC_ASSIGN(summary_, import_trace(io::real_files(), sources, options));
    return trace::Trace::open(io::real_files(), options.output);
  }
  static Json expected(const std::string& name) {
    const auto json = io::read_json(io::real_files(), testing::shared_data("formats/expected.json"));
    EXPECT_TRUE(json);
    const Json* found = json->find(name);
    EXPECT_NE(found, nullptr);
    return *found;
  }
  static std::uint64_t number(const Json& json, const std::string& key) {
    std::uint64_t out = 0;
    EXPECT_TRUE(json.find(key) != nullptr && json.find(key)->to_uint(out)) << key;
    return out;
  }

  testing::TemporaryFolder folder_;
  ImportSummary summary_;
};

TEST_F(SharedFormats, Llama4HasItsRequestsLayersAndPhases) {
  MOESAIC_NEEDS_SHARED("traces/llama4-maverick-mmlu");
  ThreadPool pool(2);
  const auto trace = import_shared(
      {"traces/llama4-maverick-mmlu/abstract_algebra.tar.xz", "traces/llama4-maverick-mmlu/anatomy.tar.xz"},
      {.pool = &pool});
  ASSERT_TRUE(trace) << trace.error().message;
  EXPECT_EQ(summary_.format, "moe-trace");
  EXPECT_EQ(trace->requests().size(), 235u);
  EXPECT_EQ(trace->requests().domains, (std::vector<std::string>{"abstract_algebra", "anatomy"}));
  ASSERT_EQ(trace->shape().layers.size(), 24u);
  for (std::size_t row = 0; row < 24; ++row) EXPECT_EQ(index(trace->shape().layers[row]), 2 * row + 1);
  EXPECT_EQ(trace->shape().model_layers, 48u);
  EXPECT_EQ(trace->shape().experts, 128u);
  EXPECT_EQ(trace->shape().top_k, 1u);
  // Counted in the unpacked files with a general JSON reader.
  const auto& requests = trace->requests();
  EXPECT_EQ(std::accumulate(requests.prefill_tokens.begin(), requests.prefill_tokens.end(), 0u), 4833u);
  EXPECT_EQ(std::accumulate(requests.decode_tokens.begin(), requests.decode_tokens.end(), 0u), 29684u);
  EXPECT_EQ(requests.id[0], "abstract_algebra/0");
  std::uint64_t sum = 0;
  for (std::size_t layer = 0; layer < 24; ++layer) {
    for (int id : layer_of(*trace, layer)) sum += static_cast<std::uint64_t>(id);
  }
  EXPECT_EQ(sum, 52286376u);
}

TEST_F(SharedFormats, RepliesOfBothEnginesHoldWhatIsExpected) {
  MOESAIC_NEEDS_SHARED("formats/expected.json");
  std::vector<std::vector<int>> layers;
  for (const std::string name :
       {"sglang-generate.json", "vllm-completion-npy.json", "vllm-completion-nested.json"}) {
    const auto trace = import_shared({"formats/" + name});
    ASSERT_TRUE(trace) << trace.error().message;
    EXPECT_EQ(trace->tokens(), 152u) << name;
    EXPECT_EQ(trace->shape().layers.size(), 24u) << name;
    EXPECT_EQ(trace->shape().top_k, 1u) << name;
    EXPECT_EQ(trace->requests().prefill_tokens, (std::vector<std::uint32_t>{25})) << name;
    EXPECT_EQ(trace->requests().decode_tokens, (std::vector<std::uint32_t>{127})) << name;
    std::uint64_t sum = 0;
    for (std::size_t layer = 0; layer < 24; ++layer) {
      layers.push_back(layer_of(*trace, layer));
      for (int id : layers.back()) sum += static_cast<std::uint64_t>(id);
    }
    EXPECT_EQ(sum, number(expected("vllm-completion-npy.json"), "sum")) << name;
    if (name == "sglang-generate.json") {
      EXPECT_EQ(trace->shape().layers.front(), LayerId{1});
    }
  }
  for (std::size_t layer = 0; layer < 24; ++layer) {
    EXPECT_EQ(layers[layer], layers[24 + layer]);
    EXPECT_EQ(layers[layer], layers[48 + layer]);
  }
}

TEST_F(SharedFormats, PhysicalLoadsBecomeLogicalAndTheCutLineIsReported) {
  MOESAIC_NEEDS_SHARED("formats/vllm-eplb-load.jsonl");
  const auto trace = import_shared({"formats/vllm-eplb-load.jsonl"});
  ASSERT_TRUE(trace) << trace.error().message;
  ASSERT_EQ(trace->count_rows().size(), 3u);
  EXPECT_EQ(trace->count_rows()[2].window, 2u);
  std::vector<double> logical(8, 0.0), counts(2 * 8);
  for (std::size_t row = 0; row < 3; ++row) {
    ASSERT_TRUE(trace->read_counts(row, counts));
    for (std::size_t e = 0; e < 8; ++e) logical[e] += counts[e];
  }
  const Json want = expected("vllm-eplb-load.jsonl");
  for (std::size_t e = 0; e < 8; ++e) {
    double count = 0;
    ASSERT_TRUE((*want.find("layer0_logical")->as_array())[e].to_double(count));
    EXPECT_EQ(logical[e], count) << e;
  }
  EXPECT_EQ(summary_.anomalies.at(0).kind, "dropped");
}

TEST_F(SharedFormats, EldrCapturesTellTheirShapeByTheirSums) {
  MOESAIC_NEEDS_SHARED("formats/eldr-capture.bin");
  const auto trace = import_shared({"formats/eldr-capture.bin"});
  ASSERT_TRUE(trace) << trace.error().message;
  const Json want = expected("eldr-capture.bin");
  EXPECT_EQ(trace->requests().size(), number(want, "requests"));
  EXPECT_EQ(trace->shape().layers.size(), number(want, "layers"));
  EXPECT_EQ(trace->shape().experts, number(want, "experts"));
  EXPECT_EQ(total_of(*trace), static_cast<double>(number(want, "total")));
}

TEST_F(SharedFormats, SglangCountsKeepPhaseAndDropDenseLayers) {
  MOESAIC_NEEDS_SHARED("traces/deepseek-v3-sglang-counts");
  const auto trace = import_shared({"traces/deepseek-v3-sglang-counts"});
  ASSERT_TRUE(trace) << trace.error().message;
  EXPECT_EQ(trace->count_rows().size(), 10u);
  EXPECT_EQ(trace->shape().layers.size(), 58u);
  EXPECT_EQ(trace->shape().layers.front(), LayerId{3});
  EXPECT_EQ(trace->shape().model_layers, 61u);
  EXPECT_EQ(trace->shape().experts, 256u);
  EXPECT_EQ(trace->count_rows().front().phase, Phase::kDecode);
  EXPECT_EQ(trace->count_rows().back().phase, Phase::kPrefill);
  double total = 0;
  const auto names = io::real_files().list(testing::shared_data("traces/deepseek-v3-sglang-counts"));
  ASSERT_TRUE(names);
  for (const std::string& name : *names) {
    const auto json =
        io::read_json(io::real_files(), testing::shared_data("traces/deepseek-v3-sglang-counts/" + name));
    ASSERT_TRUE(json);
    for (const Json& layer : *json->find("logical_count")->as_array()) {
      for (const Json& count : *layer.as_array()) {
        double value = 0;
        ASSERT_TRUE(count.to_double(value));
        total += value;
      }
    }
  }
  EXPECT_EQ(total_of(*trace), total);
}

}  // namespace
}  // namespace moesaic::ingest
