#include <fmt/format.h>

#include <array>
#include <cstdio>

#include "io/json.hpp"
#include "support/paths.hpp"
#include "support/temporary_folder.hpp"
#include "trace/writer.hpp"

namespace moesaic {
namespace {

struct Outcome {
  int exit_code = -1;
  std::string output;
};

/// Runs `moesaic info`; output is stdout and stderr together.
Outcome info(const std::string& arguments) {
  Outcome run;
  FILE* pipe =
      popen(fmt::format("{} info {} 2>&1", moesaic::testing::program_path(), arguments).c_str(), "r");
  if (pipe == nullptr) return run;
  std::array<char, 4096> buffer{};
  while (const std::size_t n = fread(buffer.data(), 1, buffer.size(), pipe))
    run.output.append(buffer.data(), n);
  run.exit_code = pclose(pipe) / 256;
  return run;
}

void write_store(const std::string& path) {
  const ModelShape shape{.model = "toy",
                         .model_layers = 8,
                         .layers = {LayerId{1}, LayerId{3}, LayerId{5}, LayerId{7}},
                         .experts = 8,
                         .top_k = 2};
  auto writer = trace::TokenWriter::open(io::real_files(), path, shape, {.fingerprint = "f"});
  ASSERT_TRUE(writer);
  const std::vector<ExpertId> experts(5 * 8, kMissingExpert);
  ASSERT_TRUE(
      writer->add_request({.id = "a", .domain = "math", .prefill_tokens = 2, .decode_tokens = 3}, experts));
  ASSERT_TRUE(writer->add_anonymous(5, experts));
  ASSERT_TRUE(
      writer->finish(8, {.format = "test", .sources = {}, .anomalies = {{"dropped", "A half line.", 1}}}));
}

TEST(Info, TellsShapeRequestsDomainsAndAnomaliesAndVerifies) {
  const testing::TemporaryFolder folder;
  write_store(folder / "t");
  const Outcome run = info(fmt::format("{0}/t --verify --json {0}/info.json", folder.path()));
  EXPECT_EQ(run.exit_code, 0) << run.output;
  for (const char* part : {"toy, from test", "4 MoE layers (1, 3, ..., 7) of 8, 8 experts, 2 a token",
                           "1 requests, 10 tokens: 2 prefill, 3 decode, 5 without a request", "math",
                           "dropped: A half line. (1)", "verified: 80 values read, 80 missing"}) {
    EXPECT_NE(run.output.find(part), std::string::npos) << part << " in\n" << run.output;
  }
  const auto json = io::read_json(io::real_files(), folder / "info.json");
  ASSERT_TRUE(json) << json.error().message;
  EXPECT_EQ(*json->find("schema"), Json("moesaic.info/1"));
  EXPECT_EQ(*json->find("anonymous_tokens"), Json(5));
  EXPECT_EQ(*json->find("verified")->find("missing"), Json(80));
}

TEST(Info, ADamagedStoreIsExitCodeTwo) {
  const testing::TemporaryFolder folder;
  write_store(folder / "t");
  const std::string shard = folder / "t/experts/c.0.0.0";
  ASSERT_TRUE(io::real_files().append_to(shard, 10));
  const Outcome run = info(folder / "t --verify");
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_NE(run.output.find("cut short"), std::string::npos) << run.output;
  EXPECT_EQ(info(folder / "none").exit_code, 2);
}

}  // namespace
}  // namespace moesaic
