// array-folder, numpy and eldr-calibration, against the shared traces and small files made by
// tests/data/make_fixtures.py. Constants of shared traces were counted with NumPy from the sources.
#include <numeric>

#include "support/damage.hpp"
#include "support/imported.hpp"
#include "support/shared_data.hpp"

namespace moesaic::ingest {
namespace {

using moesaic::testing::Imported;
using moesaic::testing::of_format;
using moesaic::testing::shared_data;
using moesaic::testing::test_data;
using moesaic::testing::with_axes;
using moesaic::testing::with_domain_key;

Imported shared(const std::string& path, ImportOptions options = {}) {
  return Imported({shared_data(path)}, std::move(options));
}
Imported fixture(const std::string& path, ImportOptions options = {}) {
  return Imported({test_data("ingest/" + path)}, std::move(options));
}

void expect_refused(const Imported& imported, const std::string& part) {
  ASSERT_FALSE(imported) << part;
  EXPECT_NE(imported.error().find(part), std::string::npos) << imported.error();
  EXPECT_EQ(imported.left(), 0u) << imported.error();
}

std::int64_t sum_of_ids(const Imported& imported) {
  std::int64_t sum = 0;
  for (std::size_t row = 0; row < imported.trace().shape().layers.size(); ++row) {
    const auto histogram = imported.histogram(row);
    for (std::size_t e = 0; e < histogram.size(); ++e) sum += histogram[e] * static_cast<std::int64_t>(e);
  }
  return sum;
}

std::vector<std::int64_t> first(std::vector<std::int64_t> values, std::size_t n) {
  values.resize(n);
  return values;
}

TEST(ArrayFolder, ImportsGptOssWithTopicsAsDomains) {
  MOESAIC_NEEDS_SHARED("traces/gpt-oss-20b-decode");
  const Imported trace = shared("traces/gpt-oss-20b-decode");
  ASSERT_TRUE(trace) << trace.error();
  EXPECT_EQ(trace.summary().format, "array-folder");
  EXPECT_EQ(trace.summary().requests, 562u);
  EXPECT_EQ(trace.trace().tokens(), 172'132u);
  EXPECT_EQ(trace.trace().shape().experts, 32u);
  EXPECT_EQ(trace.trace().shape().top_k, 4u);
  EXPECT_EQ(trace.summary().domains.size(), 13u);
  EXPECT_EQ(first(trace.histogram(5), 4), (std::vector<std::int64_t>{47843, 16177, 28901, 6377}));
  EXPECT_EQ(sum_of_ids(trace), 256'407'112);
  for (const std::uint32_t tokens : trace.trace().requests().prefill_tokens) EXPECT_EQ(tokens, 0u);
}

TEST(ArrayFolder, DomainKeyChoosesTheLabel) {
  const Imported trace = fixture("array-folder", with_domain_key("category"));
  ASSERT_TRUE(trace) << trace.error();
  EXPECT_EQ(trace.summary().domains, (std::vector<std::string>{"", "c"}));
}

TEST(ArrayFolder, ImportsDeepSeekV2LiteWithItsLayerNumbers) {
  MOESAIC_NEEDS_SHARED("traces/deepseek-v2-lite-prefill");
  const Imported trace = shared("traces/deepseek-v2-lite-prefill");
  ASSERT_TRUE(trace) << trace.error();
  EXPECT_EQ(trace.summary().requests, 2099u);
  EXPECT_EQ(trace.trace().tokens(), 193'566u);
  EXPECT_EQ(trace.trace().shape().model_layers, 27u);
  EXPECT_EQ(trace.trace().shape().layers.front(), LayerId{1});
  EXPECT_EQ(trace.trace().shape().experts, 64u);
  EXPECT_EQ(first(trace.histogram(3), 4), (std::vector<std::int64_t>{14202, 18098, 18794, 18123}));
  EXPECT_EQ(sum_of_ids(trace), 951'009'420);
  for (const std::uint32_t tokens : trace.trace().requests().decode_tokens) EXPECT_EQ(tokens, 0u);
}

TEST(ArrayFolder, ImportsTheMiniModelWithPrefillAndDecode) {
  MOESAIC_NEEDS_SHARED("traces/moesaic-mini");
  const Imported trace = shared("traces/moesaic-mini");
  ASSERT_TRUE(trace) << trace.error();
  EXPECT_EQ(trace.summary().requests, 797u);
  EXPECT_EQ(trace.summary().domains.size(), 19u);
  const auto& prefill = trace.trace().requests().prefill_tokens;
  EXPECT_EQ(std::accumulate(prefill.begin(), prefill.end(), 0u), 54'051u);
  EXPECT_EQ(first(trace.histogram(2), 4), (std::vector<std::int64_t>{52147, 33508, 24819, 27314}));
  EXPECT_EQ(sum_of_ids(trace), 68'549'918);
}

TEST(ArrayFolder, GapsAreAnonymousAndAllOnesAreMissing) {
  const Imported trace = fixture("array-folder");
  ASSERT_TRUE(trace) << trace.error();
  EXPECT_EQ(trace.trace().tokens(), 3u);
  EXPECT_EQ(trace.anomalies("anonymous"), 1u);
  const trace::RequestTable& requests = trace.trace().requests();
  EXPECT_EQ(requests.id, (std::vector<std::string>{"first", "array-folder/1"}));
  EXPECT_EQ(requests.start, (std::vector<std::uint64_t>{0, 2}));
  EXPECT_EQ(requests.prefill_tokens, (std::vector<std::uint32_t>{0, 1}));
  EXPECT_EQ(requests.arrival_ns, (std::vector<std::int64_t>{500'000'000, 1'500'000'000}));
  EXPECT_EQ(trace.summary().domains, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(trace.trace().shape().layers, (std::vector<LayerId>{LayerId{2}, LayerId{3}}));
  EXPECT_EQ(trace.layer(1)[5], kMissingExpert);
}

TEST(ArrayFolder, SaysWhatIsWrongAndLeavesNothing) {
  const moesaic::testing::TemporaryFolder folder;
  const auto expect = [&](const std::string& index, const std::string& part) {
    ASSERT_TRUE(io::write_file_atomically(io::real_files(), folder / "index.json", index, true));
    expect_refused(Imported({folder.path()}, of_format("array-folder")), part);
  };
  const auto with = [](const std::string& shape, const std::string& rest) {
    return R"({"shape":)" + shape + R"(,"dtype":"uint8","experts":4,)" + rest + "}";
  };
  expect("{}", "has no array");
  ASSERT_TRUE(
      io::write_file_atomically(io::real_files(), folder / "x.bin", std::string("\0\1\2\3", 4), true));
  expect("{", "byte");
  expect("{}", "key \"shape\" is missing");
  expect(with("[2,1]", R"("requests":[])"), "expected [tokens, layers, k]");
  expect(with("[2,1,-1]", R"("requests":[])"), "holds what is no size");
  expect(R"({"shape":[2,1,2],"dtype":"int32","requests":[]})", "key \"dtype\"");
  expect(R"({"shape":[2,1,2],"dtype":"uint8","experts":0,"requests":[]})", "key \"experts\" is 0");
  expect(with("[2,1,2]", R"("axes":"layer,token,k","requests":[])"), "key \"axes\"");
  expect(with("[2,1,2]", R"("axes":"token,layer(1..2),k","requests":[])"), "1 layers, but the axes name");
  expect(with("[2,1,2]", R"("axes":[1],"requests":[])"), "axes hold 1");
  expect(with("[2,1,2]", R"("requests":7)"), "no list");
  expect(with("[3,1,2]", R"("requests":[])"), "expected at most");
  expect(with("[1,1,2]", R"("requests":[])"), "4 bytes, expected 2");
  expect(with("[2,1,2]", R"("requests":[{"start":0}])"), "request 0 has no whole numbers");
  expect(with("[2,1,2]", R"("requests":[{"start":1,"n":2}])"), "request 0 covers tokens 1 to 3");
  expect(with("[2,1,2]", R"("requests":[{"start":0,"n":2},{"start":1,"n":1}])"), "request 1 covers");
  expect(with("[2,1,2]", R"("requests":[{"start":18446744073709551615,"n":2}])"), "request 0 covers");
  expect(with("[2,1,2]", R"("requests":[{"start":0,"n":2,"prefill":3}])"), "\"prefill\" 3");
  expect(with("[2,1,2]", R"("requests":[{"start":0,"n":2,"arrival":-1}])"), "\"arrival\" -1");
  expect(R"({"shape":[2,1,2],"dtype":"uint8","experts":3,"requests":[]})", "expert id 3");
  ASSERT_TRUE(io::write_file_atomically(io::real_files(), folder / "y.bin", "1", true));
  expect("{}", "a second array");
  expect_refused(fixture("array-folder", with_domain_key("colour")), "--domain-key colour");
}

TEST(Numpy, ImportsGlmWithDomainsAndWindowsFromItsKeys) {
  MOESAIC_NEEDS_SHARED("traces/glm-5.2-prefill-counts");
  const Imported trace = shared("traces/glm-5.2-prefill-counts", with_axes("l(3..77),e"));
  ASSERT_TRUE(trace) << trace.error();
  EXPECT_EQ(trace.summary().format, "numpy");
  EXPECT_EQ(trace.trace().shape().model_layers, 78u);
  EXPECT_EQ(trace.trace().shape().layers.size(), 75u);
  EXPECT_EQ(trace.summary().domains,
            (std::vector<std::string>{"books", "chat", "code_instruct", "code_raw", "math", "news", "web"}));
  ASSERT_EQ(trace.trace().count_rows().size(), 56u);
  double total = 0;
  for (std::size_t row = 0; row < 56; ++row) {
    const auto counts = trace.counts(row);
    const double sum = std::accumulate(counts.begin(), counts.end(), 0.0);
    total += sum;
    const trace::CountRow& record = trace.trace().count_rows()[row];
    EXPECT_EQ(record.phase, Phase::kPrefill);
    EXPECT_EQ(record.window, row % 8);
    EXPECT_EQ(record.domain, row / 8);
    if (row == 4 * 8 + 3) {
      EXPECT_EQ(sum, 14'632'800);
    }
  }
  EXPECT_EQ(total, 749'857'800);
}

TEST(Numpy, ImportsMixtralFractionsAsShares) {
  MOESAIC_NEEDS_SHARED("traces/mixtral-8x7b-mmlu-questions");
  const Imported trace = shared("traces/mixtral-8x7b-mmlu-questions");
  ASSERT_TRUE(trace) << trace.error();
  EXPECT_EQ(trace.trace().count_unit(), trace::CountUnit::kShare);
  EXPECT_EQ(trace.summary().requests, 9829u);
  EXPECT_EQ(trace.summary().domains.size(), 57u);
  double total = 0;
  for (std::size_t row = 0; row < 9829; ++row) {
    for (const double share : trace.counts(row)) total += share;
  }
  EXPECT_NEAR(total, 314'527.2681622505, 1e-6);
  EXPECT_EQ(trace.summary().domains.back(), "world_religions");
}

TEST(Numpy, ImportsQwenIdsWithTheirWeights) {
  MOESAIC_NEEDS_SHARED("traces/qwen1.5-moe-prompts");
  const Imported trace = shared("traces/qwen1.5-moe-prompts");
  ASSERT_TRUE(trace) << trace.error();
  EXPECT_EQ(trace.summary().requests, 6u);
  EXPECT_EQ(trace.trace().tokens(), 1096u);
  EXPECT_EQ(trace.summary().domains, (std::vector<std::string>{"cooking", "history", "ml_moe"}));
  EXPECT_EQ(sum_of_ids(trace), 532'436 + 522'099 + 539'939 + 518'738 + 522'538 + 494'292);
  ASSERT_TRUE(trace.trace().has_weights());
  double total = 0;
  for (std::size_t row = 0; row < 24; ++row) {
    std::vector<float> weights(1096 * 4);
    ASSERT_TRUE(trace.trace().read_weights(row, 0, 1096, weights));
    total = std::accumulate(weights.begin(), weights.end(), total);
  }
  EXPECT_NEAR(total, 8365.143898010254, 1e-6);
  EXPECT_EQ(trace.trace().requests().prefill_tokens[0], 185u);
}

TEST(Numpy, AxesSayWhatAThreeDimensionalArrayIs) {
  expect_refused(fixture("numpy/ids.npy"), "say which with --axes");
  const Imported ids = fixture("numpy/ids.npy", with_axes("tlk"));
  ASSERT_TRUE(ids) << ids.error();
  EXPECT_EQ(ids.histogram(0), (std::vector<std::int64_t>{1, 3, 1, 1}));
  EXPECT_EQ(ids.layer(1)[4], kMissingExpert);
  EXPECT_EQ(ids.trace().requests().decode_tokens[0], 3u);

  const Imported windows = fixture("numpy/windows.npy", with_axes("window,layer,expert"));
  ASSERT_TRUE(windows) << windows.error();
  EXPECT_EQ(windows.trace().count_rows()[1].window, 1u);
  EXPECT_EQ(windows.counts(1), (std::vector<double>{6, 7, 8, 9, 10, 11}));

  const Imported requests = fixture("numpy/windows.npy", with_axes("rle"));
  ASSERT_TRUE(requests) << requests.error();
  EXPECT_EQ(requests.trace().requests().id, (std::vector<std::string>{"windows/0", "windows/1"}));

  const Imported matrix = fixture("numpy/matrix.npy");
  ASSERT_TRUE(matrix) << matrix.error();
  EXPECT_EQ(matrix.counts(0), (std::vector<double>{1, 2, 3, 3, 2, 1}));
}

TEST(Numpy, SaysWhatIsWrongAndLeavesNothing) {
  expect_refused(fixture("numpy/matrix.npy", with_axes("tlk")), "shape [2, 3], expected");
  expect_refused(fixture("numpy/ids.npy", with_axes("tkl")), "that --axes names");
  expect_refused(fixture("numpy/ids.npy", with_axes("tlx")), "a word that is not known");
  expect_refused(fixture("numpy/ids.npy", with_axes("tll")), "an axis twice");
  expect_refused(fixture("numpy/ids.npy", with_axes("t,l(3..1),k")), "no range of layers");
  expect_refused(fixture("numpy/ids.npy", with_axes("t,l(3..99999),k")), "no range of layers");
  expect_refused(fixture("numpy/negative.npy"), "element 0 is -1");
  expect_refused(fixture("numpy/fraction.npy", with_axes("tlk")),
                 "elements of type float32, expected expert ids");
  expect_refused(Imported({test_data("ingest/numpy/matrix.npy"), test_data("ingest/numpy/windows.npy")}),
                 "say which with --axes");
  expect_refused(Imported({test_data("ingest/numpy/matrix.npy"), test_data("ingest/numpy/negative.npy")}),
                 "one model at a time");
}

TEST(EldrCalibration, ImportsPrefillAndDecodeRows) {
  MOESAIC_NEEDS_SHARED("formats/eldr-calibration.npz");
  const Imported trace = shared("formats/eldr-calibration.npz");
  ASSERT_TRUE(trace) << trace.error();
  EXPECT_EQ(trace.summary().format, "eldr-calibration");
  EXPECT_EQ(trace.summary().requests, 40u);
  ASSERT_EQ(trace.trace().count_rows().size(), 80u);
  double prefill = 0, decode = 0;
  for (std::size_t row = 0; row < 80; ++row) {
    const auto counts = trace.counts(row);
    const trace::CountRow& record = trace.trace().count_rows()[row];
    EXPECT_EQ(record.request, row / 2);
    (record.phase == Phase::kPrefill ? prefill : decode) +=
        std::accumulate(counts.begin(), counts.end(), 0.0);
  }
  EXPECT_EQ(prefill, 29'616);
  EXPECT_EQ(decode, 122'880);
}

TEST(EldrCalibration, SaysWhatIsWrong) {
  const Imported good = fixture("eldr.npz");
  ASSERT_TRUE(good) << good.error();
  EXPECT_EQ(good.trace().requests().id, (std::vector<std::string>{"x", "y"}));
  EXPECT_EQ(good.trace().shape().top_k, 2u);
  expect_refused(fixture("eldr-sums.npz"), "prefill counts of request 0 in layer row 0 sum to 4");
  expect_refused(fixture("eldr-no-decode.npz"), "no member \"decode_counts\"");
  expect_refused(fixture("eldr-short.npz"), "1 numbers, expected one for each of 2");
  expect_refused(fixture("eldr-version.npz"), "eldr-calibration-v9");
  expect_refused(fixture("eldr-shape.npz"), "decode_counts: shape [2, 2, 2]");
}

}  // namespace
}  // namespace moesaic::ingest
