// npm's zarrita, a Zarr implementation that is not ours, reads what we write (tests/zarrita/).
#include <fmt/format.h>

#include <array>
#include <cmath>
#include <cstdio>

#include "io/json.hpp"
#include "io/memory_files.hpp"
#include "support/paths.hpp"
#include "support/temporary_folder.hpp"
#include "trace/store_fixture.hpp"
#include "trace/trace.hpp"

namespace moesaic::trace {
namespace {

using namespace moesaic::trace::testing;
using moesaic::testing::TemporaryFolder;

const std::string kPackage = moesaic::testing::source_path("tests/zarrita");

bool is_installed() {
  return io::real_files().status(io::join_path(kPackage, "node_modules/zarrita"))->exists;
}

/// Copies the store "t" to disk, without waiting for syncs, and reads it there.
Json read_with_zarrita(const io::MemoryFiles& files, const std::string& store) {
  for (const auto& [path, bytes] : files.contents("t")) {
    const std::string to = io::join_path(store, path);
    EXPECT_TRUE(io::real_files().make_directories(io::parent_path(to)));
    EXPECT_TRUE((*io::real_files().create(to))->append(io::as_bytes(bytes)));
  }
  const std::string command = fmt::format("node {}/read.mjs '{}'", kPackage, store);
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return {};
  std::string text;
  std::array<char, 4096> buffer{};
  while (const std::size_t n = fread(buffer.data(), 1, buffer.size(), pipe)) text.append(buffer.data(), n);
  EXPECT_EQ(pclose(pipe), 0) << command;
  auto json = io::parse_json(text, "zarrita");
  return json ? *json : Json();
}

double number(const Json& json) {
  double value = std::nan("");
  json.to_double(value);
  return value;
}

#define MOESAIC_NEEDS_ZARRITA() \
  if (!is_installed()) GTEST_SKIP() << "needs zarrita: run `npm ci` in " << kPackage

TEST(OutsideReader, SeesTheSameTokens) {
  MOESAIC_NEEDS_ZARRITA();
  const TemporaryFolder folder;
  MadeTrace made = make_trace(41, 60, made_shape(3, 300, 4), true);
  for (const std::size_t experts : {300u, 32u}) {
    made.shape.experts = made.final_experts = experts;
    if (experts == 32) made = make_trace(42, 60, made.shape, true);
    const std::string path = folder / std::to_string(experts);
    io::MemoryFiles files;
    ASSERT_TRUE(write(files, "t", made));
    const auto trace = Trace::open(files, "t");
    ASSERT_TRUE(trace) << trace.error().message;
    const Json json = read_with_zarrita(files, path);
    ASSERT_TRUE(json.is_object());
    const std::vector<ExpertId> expected = sorted_experts(made);
    const double missing = experts == 300 ? 0xFFFF : 0xFF;
    double sum = 0;
    const auto value = [&](ExpertId id) {
      return id == kMissingExpert ? missing : static_cast<double>(index(id));
    };
    for (const ExpertId id : expected) sum += value(id);
    const Json* array = json.find("arrays")->find("experts");
    ASSERT_NE(array, nullptr) << json.dump();
    EXPECT_EQ(*array->find("shape"), Json(Json::Array{trace->tokens(), 3, 4}));
    EXPECT_EQ(*array->find("dtype"), Json(experts == 300 ? "uint16" : "uint8"));
    EXPECT_EQ(number(*array->find("sum")), sum);
    for (std::size_t i = 0; i < 8; ++i) {
      EXPECT_EQ(number((*array->find("first")->as_array())[i]), value(expected[i]));
      EXPECT_EQ(number((*array->find("last")->as_array())[i]), value(expected[expected.size() - 8 + i]));
    }
    double weights = 0;
    for (const MadeRecord& record : made.records) {
      for (const float w : record.weights) weights += std::isnan(w) ? 0 : static_cast<double>(w);
    }
    EXPECT_NEAR(number(*json.find("arrays")->find("weights")->find("sum")), weights, 1e-6 * weights);
    double starts = 0;
    for (const std::uint64_t start : trace->requests().start) starts += static_cast<double>(start);
    EXPECT_EQ(number(*json.find("arrays")->find("request/start")->find("sum")), starts);
    EXPECT_EQ(*json.find("attributes")->find("schema"), Json("moesaic.trace/1"));
  }
}

TEST(OutsideReader, SeesTheSameCounts) {
  MOESAIC_NEEDS_ZARRITA();
  const TemporaryFolder folder;
  CountStore store{.shape = made_shape(2, 64, 2),
                   .unit = CountUnit::kTokens,
                   .requests = {},
                   .rows = std::vector<CountRow>(300),
                   .counts = {},
                   .provenance = {}};
  store.requests.domains = {""};
  double sum = 0;
  for (std::size_t i = 0; i < 300 * 128; ++i) {
    store.counts.push_back(static_cast<double>(i % 1013));
    sum += store.counts.back();
  }
  io::MemoryFiles files;
  ASSERT_TRUE(write_count_store(files, "t", store, {.fingerprint = "f"}));
  const Json json = read_with_zarrita(files, folder / "t");
  ASSERT_TRUE(json.is_object());
  const Json* array = json.find("arrays")->find("counts");
  ASSERT_NE(array, nullptr) << json.dump();
  EXPECT_EQ(*array->find("shape"), Json(Json::Array{300, 2, 64}));
  EXPECT_EQ(number(*array->find("sum")), sum);
}

}  // namespace
}  // namespace moesaic::trace
