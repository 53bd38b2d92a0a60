// Every hostile input is refused with one clear sentence and leaves nothing behind.
#include <algorithm>
#include <charconv>

#include "ingest/import_fixture.hpp"
#include "support/hostile_cases.hpp"

namespace moesaic::ingest {
namespace {

using testing::HostileCase;

ModelShape shape_of(const std::string& text) {
  ModelShape out{.model = text, .model_layers = 0, .layers = {}, .experts = 0, .top_k = 0};
  EXPECT_EQ(std::sscanf(text.c_str(), "%zu,%zu,%zu", &out.model_layers, &out.experts, &out.top_k), 3) << text;
  return out;
}

void expect_refused(const HostileCase& hostile) {
  SCOPED_TRACE(hostile.line);
  io::MemoryFiles files;
  put(files, hostile.name, testing::hostile_bytes(hostile));
  ImportOptions options{.output = "out.zarr", .format = hostile.format};
  if (!hostile.shape.empty()) options.shape = shape_of(hostile.shape);
  const auto summary = import_to(files, {hostile.name}, options);
  ASSERT_FALSE(summary) << "imported " << summary->requests << " requests, " << summary->count_rows
                        << " count rows";
  const std::string& message = summary.error().message;
  EXPECT_EQ(summary.error().kind, ErrorKind::kBadInput) << message;
  EXPECT_NE(message.find(hostile.message), std::string::npos) << message;
  EXPECT_NE(message.find(hostile.name), std::string::npos) << message;
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  EXPECT_LT(message.size(), 700u) << message;
  for (const char* path : {"out.zarr", "out.zarr.partial"}) {
    const auto status = files.status(path);
    ASSERT_TRUE(status);
    EXPECT_FALSE(status->exists) << path;
  }
}

TEST(Hostile, EveryInputIsRefusedWithOneClearSentenceAndLeavesNothing) {
  for (const HostileCase& hostile : testing::hostile_cases()) expect_refused(hostile);
}

TEST(Hostile, ThereAreTwoHundredInputsTwentyOfThemForTheProgram) {
  const auto cases = testing::hostile_cases();
  const auto program =
      std::count_if(cases.begin(), cases.end(), [](const HostileCase& c) { return c.program; });
  EXPECT_GE(cases.size(), 180u);
  EXPECT_GE(program, 20);
}

// Whatever one bit does to a good file, the import ends with a store or with a refusal.
class AnyBitFlip : public ::testing::TestWithParam<const char*> {};

TEST_P(AnyBitFlip, EndsInAStoreOrARefusal) {
  const std::string name = GetParam();
  const std::string good = testing::hostile_bytes({.line = "",
                                                   .program = false,
                                                   .base = "ingest/" + name,
                                                   .name = "",
                                                   .format = "",
                                                   .shape = "",
                                                   .mutations = "",
                                                   .message = ""});
  io::MemoryFiles files;
  for (std::size_t bit = 0; bit < 8 * good.size(); bit += 3) {
    std::string bytes = good;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ 1 << bit % 8);
    put(files, name, bytes);
    const auto summary = import_to(files, {name}, {.force = true});
    if (!summary) {
      ASSERT_EQ(summary.error().kind, ErrorKind::kBadInput) << summary.error().message;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Hostile, AnyBitFlip,
                         ::testing::Values("moe-trace-compact.json", "sglang-generate.json",
                                           "sglang-partitions.json", "vllm-npy.jsonl", "vllm-nested.json",
                                           "prefill_in16.json", "vllm-eplb.jsonl", "eldr-capture.bin"));

}  // namespace
}  // namespace moesaic::ingest
