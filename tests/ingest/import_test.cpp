// The import as a whole, in memory: recognising, leaving out, refusing, resuming.
#include <algorithm>

#include "core/thread_pool.hpp"
#include "ingest/import_fixture.hpp"
#include "io/faulty_files.hpp"

namespace moesaic::ingest {
namespace {

void expect_refused(const Result<ImportSummary>& result, const std::string& part) {
  ASSERT_FALSE(result) << "expected: " << part;
  EXPECT_EQ(result.error().kind, ErrorKind::kBadInput);
  EXPECT_NE(result.error().message.find(part), std::string::npos) << result.error().message;
}

void expect_nothing_left(io::MemoryFiles& files, const std::string& output = "out.zarr") {
  for (const std::string& path : {output, output + ".partial"}) {
    const auto status = files.status(path);
    ASSERT_TRUE(status);
    EXPECT_FALSE(status->exists) << path;
  }
}

std::size_t count_of(const ImportSummary& summary, const std::string& kind) {
  std::size_t out = 0;
  for (const trace::Anomaly& anomaly : summary.anomalies) out += anomaly.kind == kind ? anomaly.count : 0;
  return out;
}

TEST(Import, SourcesComeInTheGivenOrderAndFoldersBytewise) {
  io::MemoryFiles files;
  put(files, "b/2.json", small_request({3}, 1));
  put(files, "b/10.json", small_request({2}, 1));
  put(files, "a/1.json", small_request({4}, 1));
  put(files, "b/deep/x.json", small_request({5}, 1));
  const auto summary = import_to(files, {"b", "a"});
  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_EQ(summary->format, "moe-trace");
  EXPECT_EQ(summary->requests, 4u);
  EXPECT_EQ(summary->domains, (std::vector<std::string>{"b", "deep", "a"}));
  const auto trace = trace::Trace::open(files, "out.zarr");
  ASSERT_TRUE(trace) << trace.error().message;
  EXPECT_EQ(trace->requests().id, (std::vector<std::string>{"b/10", "b/2", "deep/x", "a/1"}));
  EXPECT_EQ(layer_of(*trace, 0), (std::vector<int>{2, 3, 5, 4}));
  EXPECT_EQ(trace->shape().layers, (std::vector<LayerId>{LayerId{1}}));
  EXPECT_EQ(trace->shape().model_layers, 3u);
  EXPECT_EQ(trace->shape().experts, 6u);
  EXPECT_EQ(trace->provenance().format, "moe-trace");
  EXPECT_EQ(trace->provenance().sources, (std::vector<std::string>{"b", "a"}));
}

TEST(Import, FilesOfOtherKindsInAFolderAreLeftOutAndCounted) {
  io::MemoryFiles files;
  put(files, "a/1.json", small_request({4}, 1));
  put(files, "a/README.md", "words");
  put(files, "a/zz.txt", "words");
  put(files, "a/.hidden.json", "not looked at");
  const auto summary = import_to(files, {"a"});
  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_EQ(summary->documents, 1u);
  EXPECT_EQ(count_of(*summary, "dropped"), 2u);
  expect_refused(import_to(files, {"a/1.json", "a/README.md"}, {.output = "other"}),
                 "a/README.md: not a file of format");
}

TEST(Import, AFormatThatIsNotKnownListsThoseThatAre) {
  io::MemoryFiles files;
  put(files, "a/1.json", "{\"what\": 1}");
  expect_refused(import_to(files, {"a"}), "a/1.json: in no format known here");
  expect_refused(import_to(files, {"a"}), "moe-trace, sglang-generate");
  expect_refused(import_to(files, {"a"}, {.format = "nonsense"}),
                 "--format nonsense: no such format; expected one of");
  expect_refused(import_to(files, {"nowhere"}), "nowhere: there is no such file");
  expect_refused(import_to(files, {}), "no source given");
  ASSERT_TRUE(files.make_directories("empty"));
  expect_refused(import_to(files, {"empty"}), "empty: no files to import there");
  expect_nothing_left(files);
}

TEST(Import, AForcedFormatIsNotLookedFor) {
  io::MemoryFiles files;
  put(files, "a/1.json", small_request({4}, 1));
  const auto summary = import_to(files, {"a"}, {.format = "moe-trace"});
  ASSERT_TRUE(summary) << summary.error().message;
  expect_refused(import_to(files, {"a"}, {.output = "b", .format = "sglang-logical-count"}), "a/1.json");
}

TEST(Import, EldrCentroidsAreSentToTheGateway) {
  io::MemoryFiles files;
  put(files, "c.json",
      R"({"model": "m", "algo": "kmeans", "k": 2, "layer_mask": [0], "centroids": [[1.0]]})");
  expect_refused(import_to(files, {"c.json"}), "moesaic gateway");
}

TEST(Import, AnExistingStoreNeedsForce) {
  io::MemoryFiles files;
  put(files, "a/1.json", small_request({4, 5}, 1));
  ASSERT_TRUE(import_to(files, {"a/1.json"}));
  const auto before = files.contents("out.zarr");
  expect_refused(import_to(files, {"a/1.json"}), "out.zarr: exists already");
  EXPECT_EQ(files.contents("out.zarr"), before);
  ASSERT_TRUE(import_to(files, {"a/1.json"}, {.force = true}));
  EXPECT_EQ(files.contents("out.zarr"), before);
}

TEST(Import, BadInputHalfwayLeavesNothing) {
  io::MemoryFiles files;
  put(files, "a/1.json", small_request({4, 5}, 1));
  put(files, "a/2.json", "[{\"1\": [[1,2]]}]");
  expect_refused(import_to(files, {"a"}), "a/2.json: 2 experts a token, expected 1 as in a/1.json");
  expect_nothing_left(files);
  put(files, "a/2.json", "[{\"1\": [[1]], \"2\": [[1]]}]");
  expect_refused(import_to(files, {"a"}),
                 "a/2.json: experts in 2 layers, expected the same 1 layers as in a/1.json");
  expect_nothing_left(files);
  put(files, "a/2.json", "[{\"1\": [[1]]");
  expect_refused(import_to(files, {"a"}), "a/2.json: ");
  expect_nothing_left(files);
}

TEST(Import, TheGivenModelMustFit) {
  io::MemoryFiles files;
  put(files, "a/1.json", small_request({4, 5}, 1));
  const ModelShape good{.model = "m", .model_layers = 3, .layers = {LayerId{1}}, .experts = 8, .top_k = 1};
  ModelShape shape = good;
  const auto summary = import_to(files, {"a"}, {.shape = shape});
  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_EQ(summary->shape, good);
  EXPECT_TRUE(summary->anomalies.empty());
  shape.top_k = 2;
  expect_refused(import_to(files, {"a"}, {.output = "b", .shape = shape}), "1 experts a token, expected 2");
  shape = good;
  shape.experts = 5;
  expect_refused(import_to(files, {"a"}, {.output = "b", .shape = shape}),
                 "a/1.json: expert id 5, expected below 5");
  shape = good;
  shape.layers = {LayerId{2}};
  expect_refused(import_to(files, {"a"}, {.output = "b", .shape = shape}),
                 "experts in layer 1, which is no MoE layer");
  shape.layers = {LayerId{1}, LayerId{2}};
  expect_refused(import_to(files, {"a"}, {.output = "b", .shape = shape}), "no experts for layer 2");
  expect_nothing_left(files, "b");
}

TEST(Import, AGuessedModelIsTakenOnlyWhenItFits) {
  io::MemoryFiles files;
  put(files, "a/1.json", small_request({4, 5}, 1));
  ModelShape shape{.model = "m", .model_layers = 3, .layers = {LayerId{1}}, .experts = 8, .top_k = 1};
  const auto guess = [&shape](std::string_view) { return std::optional(shape); };
  auto summary = import_to(files, {"a"}, {.shape_by_path = guess});
  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_EQ(summary->shape.experts, 8u);
  EXPECT_EQ(count_of(*summary, "assumed"), 1u);
  shape.top_k = 2;
  summary = import_to(files, {"a"}, {.output = "b", .shape_by_path = guess});
  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_EQ(summary->shape.model, "");
  EXPECT_EQ(summary->shape.experts, 6u);
}

TEST(Import, DomainNamesEveryRequest) {
  io::MemoryFiles files;
  put(files, "a/1.json", small_request({4}, 1));
  put(files, "b/1.json", small_request({5}, 1));
  const auto summary = import_to(files, {"a", "b"}, {.domain = "maths"});
  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_EQ(summary->domains, (std::vector<std::string>{"maths"}));
}

TEST(Import, DensePlanesOfRepliesAreFoundOverAllOfThem) {
  io::MemoryFiles files;
  // Two replies of 2 rows, planes 0 to 3, k = 1: plane 0 is zero in both, plane 2 in the first only.
  put(files, "r.jsonl",
      R"({"meta_info":{"id":"x","prompt_tokens":1,"completion_tokens":2,"routed_experts":"AAAAAAEAAAAAAAAAAgAAAAAAAAADAAAAAAAAAAQAAAA="}})"
      "\n"
      R"({"meta_info":{"id":"y","prompt_tokens":2,"completion_tokens":1,"routed_experts":"AAAAAAEAAAAFAAAAAgAAAAAAAAADAAAAAQAAAAQAAAA="}})"
      "\n"
      R"({"meta_info":{"id":"z","prompt_tokens":1,"completion_tokens":1,"routed_experts":"AAAAAAAAAAAAAAAAAAAAAA=="}})"
      "\n"
      R"({"text":"no routing"})"
      "\n"
      R"({"meta_info":{"id":"cut)");
  const ModelShape planes{.model = "m", .model_layers = 4, .layers = {}, .experts = 8, .top_k = 1};
  const auto summary = import_to(files, {"r.jsonl"}, {.format = "sglang-generate", .shape = planes});
  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_EQ(summary->requests, 2u);
  EXPECT_EQ(count_of(*summary, "dropped"), 3u);  // all zero, none, a cut line
  const auto trace = trace::Trace::open(files, "out.zarr");
  ASSERT_TRUE(trace) << trace.error().message;
  EXPECT_EQ(trace->shape().layers, (std::vector<LayerId>{LayerId{1}, LayerId{2}, LayerId{3}}));
  EXPECT_EQ(layer_of(*trace, 0), (std::vector<int>{1, 3, 1, 3}));
  EXPECT_EQ(layer_of(*trace, 1), (std::vector<int>{0, 0, 5, 1}));
  EXPECT_EQ(trace->requests().prefill_tokens, (std::vector<std::uint32_t>{1, 2}));
}

TEST(Import, CsvCountsAreOneRowAFileAndZeroWhereAFileIsSilent) {
  io::MemoryFiles files;
  put(files, "d/1.csv", "layer,expert,count\r\n1,0,5\r\n1,2,7\r\n3,1,12\r\n");
  put(files, "d/2.csv", "layer,expert,count\n3,3,4\n\n1,0,4");
  const auto summary = import_to(files, {"d"});
  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_EQ(summary->format, "csv-counts");
  EXPECT_EQ(summary->count_rows, 2u);
  const auto trace = trace::Trace::open(files, "out.zarr");
  ASSERT_TRUE(trace) << trace.error().message;
  EXPECT_EQ(trace->shape().layers, (std::vector<LayerId>{LayerId{1}, LayerId{3}}));
  EXPECT_EQ(trace->shape().experts, 4u);
  std::vector<double> counts(8);
  ASSERT_TRUE(trace->read_counts(0, counts));
  EXPECT_EQ(counts, (std::vector<double>{5, 0, 7, 0, 0, 12, 0, 0}));
  ASSERT_TRUE(trace->read_counts(1, counts));
  EXPECT_EQ(counts, (std::vector<double>{4, 0, 0, 0, 0, 0, 0, 4}));
}

/// A few hundred requests of a few tokens.
std::vector<std::string> many_requests(io::FileSystem& files, std::size_t requests) {
  for (std::size_t r = 0; r < requests; ++r) {
    std::vector<int> ids;
    for (std::size_t t = 0; t < 3 + r % 7; ++t) ids.push_back(static_cast<int>((r * 31 + t * 17) % 64));
    put(files, "many/" + std::to_string(r) + ".json", small_request(ids, 1 + r % 3));
  }
  return {"many"};
}

constexpr trace::StoreLayout kSmall{.shard_tokens = 64, .piece_tokens = 16};

TEST(Import, TheStoreIsTheSameAtAnyNumberOfThreads) {
  io::MemoryFiles files;
  const auto sources = many_requests(files, 300);
  ASSERT_TRUE(import_to(files, sources, {.output = "one", .layout = kSmall}));
  ThreadPool pool(4);
  ASSERT_TRUE(import_to(files, sources, {.output = "four", .layout = kSmall, .pool = &pool}));
  EXPECT_EQ(files.contents("one"), files.contents("four"));
}

TEST(Import, AfterACrashAtAnyWriteTheImportResumesToTheSameBytes) {
  io::MemoryFiles clean;
  const auto sources = many_requests(clean, 60);
  io::FaultyFiles counted(clean, {});
  ASSERT_TRUE(import_to(counted, sources, {.layout = kSmall}));
  const std::uint64_t operations = counted.operations();
  ASSERT_GT(operations, 10u);
  const auto expected = clean.contents("out.zarr");
  for (std::uint64_t n = 0; n < operations; ++n) {
    ASSERT_TRUE(clean.remove_all("out.zarr"));
    ASSERT_TRUE(clean.remove_all("out.zarr.partial"));
    io::FaultyFiles faulty(clean, {.fail_operation = n, .crash = true});
    const auto crashed = import_to(faulty, sources, {.layout = kSmall});
    const auto status = clean.status("out.zarr");
    ASSERT_TRUE(status);
    if (!crashed) {
      EXPECT_EQ(crashed.error().kind, ErrorKind::kEnvironment) << n << ": " << crashed.error().message;
    }
    if (!status->exists) {
      const auto resumed = import_to(clean, sources, {.layout = kSmall});
      ASSERT_TRUE(resumed) << n << ": " << resumed.error().message;
    }
    ASSERT_EQ(clean.contents("out.zarr"), expected) << "crash at write " << n;
  }
}

TEST(Import, AFullDiskIsAnEnvironmentErrorAndLeavesNoStore) {
  io::MemoryFiles files;
  const auto sources = many_requests(files, 60);
  io::FaultyFiles full(files, {.disk_bytes = 100});
  const auto summary = import_to(full, sources, {.layout = kSmall});
  ASSERT_FALSE(summary);
  EXPECT_EQ(summary.error().kind, ErrorKind::kEnvironment);
  const auto status = files.status("out.zarr");
  ASSERT_TRUE(status);
  EXPECT_FALSE(status->exists);
}

TEST(Import, EveryImporterHasAUniqueNameAndRecognisesNothingEmpty) {
  std::vector<std::string_view> names;
  for (const Importer* importer : importers()) {
    names.push_back(importer->name);
    EXPECT_EQ(find_importer(importer->name), importer);
    EXPECT_FALSE(importer->what.empty());
    EXPECT_FALSE(importer->detect("x.json", "")) << importer->name;
    EXPECT_FALSE(importer->detect("x.json", "{}")) << importer->name;
    EXPECT_FALSE(importer->detect("x.bin", "\1")) << importer->name;
  }
  std::sort(names.begin(), names.end());
  EXPECT_EQ(std::adjacent_find(names.begin(), names.end()), names.end());
}

}  // namespace
}  // namespace moesaic::ingest
