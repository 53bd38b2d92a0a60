// moesaic import as users run it: exit codes, one message, nothing left, killed and resumed.
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>

#include "core/random.hpp"
#include "io/files.hpp"
#include "support/damage.hpp"
#include "support/hostile_cases.hpp"
#include "support/program.hpp"
#include "support/temporary_folder.hpp"

namespace moesaic {
namespace {

using testing::run_moesaic;

void write(const std::string& path, const std::string& bytes) {
  const Status status = io::write_file_atomically(io::real_files(), path, bytes, true);
  ASSERT_TRUE(status) << status.error().message;
}

std::map<std::string, std::string> contents(const std::string& folder) {
  std::map<std::string, std::string> out;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) {
      out[std::filesystem::relative(entry.path(), folder)] = testing::read_bytes(entry.path());
    }
  }
  return out;
}

TEST(ImportProgram, PrintsWhatItImportedAndWritesJson) {
  const testing::TemporaryFolder folder;
  const auto result = run_moesaic({"import", testing::test_data("ingest/moe-trace.json"), "-o",
                                   folder / "t.zarr", "--json", folder / "summary.json"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.out.find("moe-trace"), std::string::npos) << result.out;
  EXPECT_NE(result.out.find("assumed (1): The number of experts a layer"), std::string::npos) << result.out;
  EXPECT_EQ(result.err, "");
  const std::string json = testing::read_bytes(folder / "summary.json");
  EXPECT_NE(json.find("\"schema\": \"moesaic.import/1\""), std::string::npos) << json;
  EXPECT_NE(json.find("\"tokens\": 5"), std::string::npos) << json;
}

TEST(ImportProgram, ModelsAndShapesThatCannotBeReadAreUsageErrors) {
  const testing::TemporaryFolder folder;
  const std::string source = testing::test_data("ingest/moe-trace.json");
  for (const std::vector<std::string>& options :
       std::vector<std::vector<std::string>>{{"--model", "no-such-model"},
                                             {"--model", folder / "missing.yaml"},
                                             {"--shape", "1,2"},
                                             {"--shape", "1,2,x"},
                                             {"--shape", "0,2,1"},
                                             {"--shape", "99999,2,1"}}) {
    std::vector<std::string> words{"import", source, "-o", folder / "t.zarr"};
    words.insert(words.end(), options.begin(), options.end());
    const auto result = run_moesaic(words);
    EXPECT_TRUE(result.exit_code == 2 || result.exit_code == 3) << options[1] << ": " << result.exit_code;
    EXPECT_EQ(result.err.find("moesaic: "), 0u) << result.err;
    EXPECT_FALSE(std::filesystem::exists(folder / "t.zarr"));
  }
  EXPECT_EQ(run_moesaic({"import"}).exit_code, 2);
  EXPECT_EQ(run_moesaic({"import", source, "-o", folder / "t.zarr", "--no-such-option"}).exit_code, 2);
}

TEST(ImportProgram, AReadOnlyTargetIsTheEnvironmentAndLeavesNothing) {
  // Not by file rights: the tests may run as root. /proc takes no new folders from anybody.
  const auto result =
      run_moesaic({"import", testing::test_data("ingest/moe-trace.json"), "-o", "/proc/t.zarr"});
  EXPECT_NE(result.exit_code, 0);
  EXPECT_EQ(result.err.find("moesaic: /proc/t.zarr.partial"), 0u) << result.err;
}

TEST(ImportProgram, HostileInputsAreRefusedWithExitTwoOneMessageAndNoOutput) {
  for (const testing::HostileCase& hostile : testing::hostile_cases()) {
    if (!hostile.program) continue;
    SCOPED_TRACE(hostile.line);
    const testing::TemporaryFolder folder;
    write(folder / hostile.name, testing::hostile_bytes(hostile));
    std::vector<std::string> words{"import", folder / hostile.name, "-o", folder / "t.zarr"};
    if (!hostile.format.empty()) words.insert(words.end(), {"--format", hostile.format});
    if (!hostile.shape.empty()) words.insert(words.end(), {"--shape", hostile.shape});
    const auto result = run_moesaic(words);
    EXPECT_EQ(result.exit_code, 2) << result.err;
    EXPECT_EQ(result.out, "");
    EXPECT_EQ(result.err.find("moesaic: "), 0u) << result.err;
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
    EXPECT_NE(result.err.find(hostile.message), std::string::npos) << result.err;
    EXPECT_FALSE(std::filesystem::exists(folder / "t.zarr"));
    EXPECT_FALSE(std::filesystem::exists(folder / "t.zarr.partial"));
  }
}

/// `files` requests of `tokens` tokens each, of two MoE layers, k = 1.
void write_corpus(const std::string& folder, std::size_t files, std::size_t tokens) {
  ASSERT_TRUE(io::real_files().make_directories(folder));
  for (std::size_t file = 0; file < files; ++file) {
    std::string text = "[{";
    for (int layer = 0; layer < 2; ++layer) {
      text += layer == 0 ? "\"0\":[" : "],\"1\":[";
      for (std::size_t t = 0; t < tokens; ++t) {
        text += t == 0 ? "[" : ",[";
        text += std::to_string(counter_hash({file, t, static_cast<std::uint64_t>(layer)}) % 64) + "]";
      }
    }
    write(folder + "/" + std::to_string(file) + ".json", text + "]}]");
  }
}

TEST(ImportProgram, KilledAtTwentyRandomMomentsItResumesToTheSameBytes) {
  const testing::TemporaryFolder folder;
  write_corpus(folder / "corpus", 20, 30'000);  // three shards
  const std::vector<std::string> to_whole{"import", folder / "corpus", "-o", folder / "whole.zarr"};
  const auto begin = std::chrono::steady_clock::now();
  const auto whole = run_moesaic(to_whole);
  ASSERT_EQ(whole.exit_code, 0) << whole.err;
  const auto took =
      std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - begin);
  const auto expected = contents(folder / "whole.zarr");
  ASSERT_FALSE(expected.empty());

  const std::string store = folder / "t.zarr";
  const std::vector<std::string> words{"import", folder / "corpus", "-o", store};
  std::size_t killed = 0, finished = 0;
  for (std::uint64_t kill = 0; kill < 20; ++kill) {
    const auto moment = counter_hash({kill}) % static_cast<std::uint64_t>(took.count());
    const auto result = testing::kill_moesaic_after(std::chrono::microseconds(moment), words);
    if (result.signal != 0) ++killed;
    if (std::filesystem::exists(store)) {
      EXPECT_EQ(contents(store), expected) << "a store that is there is whole";
      std::filesystem::remove_all(store);
      ++finished;
    }
    if (kill % 5 != 4) continue;  // several kills may fall on one import before it may finish
    const auto resumed = run_moesaic(words);
    ASSERT_EQ(resumed.exit_code, 0) << resumed.err;
    EXPECT_EQ(contents(store), expected);
    EXPECT_FALSE(std::filesystem::exists(store + ".partial"));
    std::filesystem::remove_all(store);
  }
  EXPECT_GT(killed, 0u) << finished << " imports ended before their kill";
}

}  // namespace
}  // namespace moesaic
