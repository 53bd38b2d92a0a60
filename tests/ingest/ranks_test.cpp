// An import that several ranks share makes the store, and says what, an import by one rank does.
#include <algorithm>

#include "comm/thread_ranks.hpp"
#include "ingest/import_fixture.hpp"
#include "io/faulty_files.hpp"

namespace moesaic::ingest {
namespace {

constexpr trace::StoreLayout kSmall{.shard_tokens = 64, .piece_tokens = 16};
constexpr BatchLimits kFewDocuments{.documents = 4};

struct Imported {
  std::vector<Status> statuses;
  ImportSummary summary;  ///< of the root
};

/// `files_of`: what a rank sees; tests give ranks file systems of their own.
Imported import_on(std::size_t ranks, const std::vector<std::string>& sources, const ImportOptions& options,
                   const std::function<io::FileSystem&(std::size_t rank)>& files_of) {
  Imported out;
  out.statuses = comm::run_thread_ranks(ranks, [&](comm::Comm& comm) -> Status {
    ImportOptions mine = options;
    if (mine.output.empty()) mine.output = "out.zarr";
    mine.comm = &comm;
    MOESAIC_ASSIGN(ImportSummary summary, import_trace(files_of(comm.rank()), sources, mine));
    if (comm.is_root()) out.summary = std::move(summary);
    return {};
  });
  return out;
}

Imported import_on(std::size_t ranks, io::FileSystem& files, const std::vector<std::string>& sources,
                   const ImportOptions& options) {
  return import_on(ranks, sources, options, [&](std::size_t) -> io::FileSystem& { return files; });
}

/// One message and kind on all ranks, which holds `part`; neither store nor partial store.
void expect_refused(const Imported& imported, io::MemoryFiles& files, const std::string& part) {
  for (const Status& status : imported.statuses) {
    ASSERT_FALSE(status) << "expected: " << part;
    EXPECT_EQ(status.error().message, imported.statuses[0].error().message);
    EXPECT_EQ(status.error().kind, ErrorKind::kBadInput);
    EXPECT_NE(status.error().message.find(part), std::string::npos) << status.error().message;
  }
  EXPECT_FALSE(files.status("out.zarr")->exists);
  EXPECT_FALSE(files.status("out.zarr.partial")->exists);
}

void expect_same_as_alone(io::MemoryFiles& files, const std::vector<std::string>& sources,
                          ImportOptions options) {
  options.output = "alone";
  const auto alone = import_trace(files, sources, options);
  ASSERT_TRUE(alone) << alone.error().message;
  options.output = "out.zarr";
  for (const std::size_t ranks : {2u, 3u, 5u}) {
    const Imported shared = import_on(ranks, files, sources, options);
    for (const Status& status : shared.statuses) ASSERT_TRUE(status) << status.error().message;
    ASSERT_EQ(files.contents("out.zarr"), files.contents("alone")) << ranks << " ranks";
    EXPECT_EQ(shared.summary.documents, alone->documents);
    EXPECT_EQ(shared.summary.requests, alone->requests);
    EXPECT_EQ(shared.summary.tokens, alone->tokens);
    EXPECT_EQ(shared.summary.domains, alone->domains);
    EXPECT_EQ(shared.summary.shape, alone->shape);
    EXPECT_EQ(shared.summary.anomalies, alone->anomalies);
    ASSERT_TRUE(files.remove_all("out.zarr"));
  }
  ASSERT_TRUE(files.remove_all("alone"));
}

/// Requests of a few tokens in several folders.
std::vector<std::string> many_requests(io::FileSystem& files, std::size_t requests) {
  for (std::size_t r = 0; r < requests; ++r) {
    std::vector<int> ids;
    for (std::size_t t = 0; t < 3 + r % 7; ++t) ids.push_back(static_cast<int>((r * 31 + t * 17) % 64));
    put(files, "many/" + std::to_string(r % 5) + "/" + std::to_string(r) + ".json",
        small_request(ids, 1 + r % 3));
  }
  return {"many"};
}

TEST(Ranks, MakeTheStoreOfOneAndSayTheSame) {
  io::MemoryFiles files;
  const auto sources = many_requests(files, 97);
  expect_same_as_alone(files, sources, {.layout = kSmall, .batch = kFewDocuments});
  expect_same_as_alone(files, sources, {.layout = kSmall});  // one batch: only the root has work
  expect_same_as_alone(files, {"many/3"}, {.domain = "maths", .layout = kSmall, .batch = {.bytes = 200}});
}

TEST(Ranks, LeftOutFilesAndRepeatedIdsAreReportedAsByOne) {
  io::MemoryFiles files;
  many_requests(files, 40);
  for (const std::string name : {"0/a.md", "1/b.md", "4/z.txt"}) put(files, "many/" + name, "words");
  expect_same_as_alone(files, {"many", "many/2"}, {.layout = kSmall, .batch = kFewDocuments});
}

TEST(Ranks, AModelGuessedFromPathsIsGuessedByTheFirstBatch) {
  io::MemoryFiles files;
  const auto sources = many_requests(files, 30);
  const ModelShape shape{.model = "m", .model_layers = 3, .layers = {LayerId{1}}, .experts = 64, .top_k = 1};
  expect_same_as_alone(files, sources,
                       {.shape_by_path = [&](std::string_view) { return std::optional(shape); },
                        .layout = kSmall,
                        .batch = kFewDocuments});
}

/// vLLM replies of 0.21: nested lists [rows, ids of all layers], how many a layer is not said.
std::string vllm_reply(std::size_t r) {
  std::string rows;
  for (std::size_t t = 0; t < 2 + r % 3; ++t) {
    rows += (t == 0 ? "[[" : ",[[") + std::to_string((r + t) % 7) + "," + std::to_string(7 + (r * t) % 5) +
            "],[" + std::to_string((r * 3 + t) % 6) + "," + std::to_string(6 + t % 4) + "]]";
  }
  return R"({"id":"r)" + std::to_string(r) + R"(","usage":{"prompt_tokens":1,"completion_tokens":)" +
         std::to_string(2 + r % 3) + R"(},"choices":[{"routed_experts":[)" + rows + "]}]}";
}

TEST(Ranks, RepliesAreSharedToo) {
  io::MemoryFiles files;
  for (std::size_t r = 0; r < 40; ++r) {
    // Some hold no routing at all: a batch of them settles nothing.
    put(files, "replies/" + std::to_string(100 + r) + ".json",
        r < 9 ? R"({"id":"none","choices":[{"text":"x"}]})" : vllm_reply(r));
  }
  expect_same_as_alone(files, {"replies"},
                       {.format = "vllm-completion", .layout = kSmall, .batch = kFewDocuments});
}

TEST(Ranks, WidthsThatNobodyExplainsAreDividedAlike) {
  io::MemoryFiles files;
  // SGLang replies of 2 rows x 4 ids, base64 of int32: planes x k is not said.
  for (std::size_t r = 0; r < 20; ++r) {
    const std::string id = "r" + std::to_string(r);
    put(files, "replies/" + std::to_string(100 + r) + ".json",
        R"({"meta_info":{"id":")" + id +
            R"(","prompt_tokens":1,"completion_tokens":2,"routed_experts":"AAAAAAEAAAAAAAAAAgAAAAAAAAADAAAAAAAAAAQAAAA="}})");
  }
  expect_same_as_alone(files, {"replies"},
                       {.format = "sglang-generate", .layout = kSmall, .batch = kFewDocuments});
}

TEST(Ranks, AFormatThatIsNotSharedIsReadByTheRoot) {
  io::MemoryFiles files;
  put(files, "d/1.csv", "layer,expert,count\n1,0,5\n1,2,7\n3,1,12\n");
  expect_same_as_alone(files, {"d"}, {});
  EXPECT_FALSE(import_on(2, files, {"d"}, {}).summary.shared);
  put(files, "d/2.csv", "layer,expert,count\n1,zero,5\n");
  ASSERT_TRUE(files.remove_all("out.zarr"));
  expect_refused(import_on(3, files, {"d"}, {}), files, "d/2.csv");
}

TEST(Ranks, BadInputOfOneIsTheMessageOfAllAndLeavesNothing) {
  for (std::size_t bad = 0; bad < 30; bad += 3) {
    io::MemoryFiles files;
    const auto sources = many_requests(files, 30);
    const std::string path = "many/" + std::to_string(bad % 5) + "/" + std::to_string(bad) + ".json";
    for (const std::string text :
         {"[{\"1\": [[1,2]]}]", "[{\"1\": [[1]]", "[{\"1\": [[1]], \"2\": [[1]]}]"}) {
      put(files, path, text);
      const Imported imported =
          import_on(3, files, sources, {.format = "moe-trace", .layout = kSmall, .batch = kFewDocuments});
      expect_refused(imported, files, bad == 0 && text.ends_with("]}]") ? "as in " + path : path);
    }
  }
  io::MemoryFiles files;
  put(files, "a/1.json", "[]");
  expect_refused(import_on(2, files, {"a"}, {.format = "moe-trace"}), files, "a/1.json");
  expect_refused(import_on(2, files, {"nowhere"}, {}), files, "nowhere: there is no such file");
}

TEST(Ranks, AnExistingStoreNeedsForce) {
  io::MemoryFiles files;
  const auto sources = many_requests(files, 9);
  ASSERT_TRUE(import_on(2, files, sources, {}).statuses[0]);
  const auto before = files.contents("out.zarr");
  for (const Status& status : import_on(2, files, sources, {}).statuses) {
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().message.find("out.zarr: exists already"), 0u) << status.error().message;
  }
  EXPECT_EQ(files.contents("out.zarr"), before);
  for (const Status& status : import_on(2, files, sources, {.force = true}).statuses) ASSERT_TRUE(status);
  EXPECT_EQ(files.contents("out.zarr"), before);
}

TEST(Ranks, RanksThatSeeOtherFilesAreNamed) {
  io::MemoryFiles here, there;
  many_requests(here, 9);
  many_requests(there, 10);
  const Imported imported = import_on(
      3, {"many"}, {}, [&](std::size_t rank) -> io::FileSystem& { return rank == 2 ? there : here; });
  for (const Status& status : imported.statuses) {
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().kind, ErrorKind::kEnvironment);
    EXPECT_NE(status.error().message.find("rank 2 sees another set of sources than rank 0"),
              std::string::npos);
  }
}

TEST(Ranks, AFullDiskIsOneEnvironmentErrorAndAnyNumberOfRanksResumes) {
  io::MemoryFiles files;
  const auto sources = many_requests(files, 97);
  ASSERT_TRUE(import_to(files, sources, {.output = "alone", .layout = kSmall, .batch = kFewDocuments}));
  std::size_t resumed = 0;
  for (std::uint64_t bytes = 300; bytes < 6'000; bytes += 700) {
    io::FaultyFiles small(files, {.disk_bytes = bytes});
    const Imported full = import_on(2, sources, {.layout = kSmall, .batch = kFewDocuments},
                                    [&](std::size_t rank) -> io::FileSystem& {
                                      return rank == 0 ? static_cast<io::FileSystem&>(small) : files;
                                    });
    if (!full.statuses[0]) {
      EXPECT_EQ(full.statuses[0].error().kind, ErrorKind::kEnvironment);
      EXPECT_EQ(full.statuses[0].error().message, full.statuses[1].error().message);
      ASSERT_FALSE(files.status("out.zarr")->exists);
      ++resumed;
      const Imported again =
          import_on(1 + resumed % 3, files, sources, {.layout = kSmall, .batch = kFewDocuments});
      for (const Status& status : again.statuses) ASSERT_TRUE(status) << status.error().message;
    }
    ASSERT_EQ(files.contents("out.zarr"), files.contents("alone"));
    ASSERT_TRUE(files.remove_all("out.zarr"));
  }
  EXPECT_GT(resumed, 3u);
}

}  // namespace
}  // namespace moesaic::ingest
