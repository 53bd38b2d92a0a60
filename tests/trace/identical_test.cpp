// Requests that are another one recorded again.
#include "trace/identical.hpp"

#include <gtest/gtest.h>

#include "io/memory_files.hpp"
#include "trace/writer.hpp"

namespace moesaic::trace {
namespace {

/// Two layers, k = 1: a token is (expert in the first layer, expert in the second).
using Tokens = std::vector<std::pair<int, int>>;

std::vector<std::uint32_t> first_of(const std::vector<std::pair<std::uint32_t, Tokens>>& requests) {
  io::MemoryFiles files;
  ThreadPool pool(2);
  const ModelShape shape{
      .model = "m", .model_layers = 2, .layers = {LayerId(0), LayerId(1)}, .experts = 8, .top_k = 1};
  auto writer = TokenWriter::open(files, "t.zarr", shape, {.fingerprint = "x"});
  EXPECT_TRUE(writer);
  for (const auto& [prefill, tokens] : requests) {
    std::vector<ExpertId> experts;
    for (const auto& [a, b] : tokens) {
      experts.push_back(ExpertId(a));
      experts.push_back(ExpertId(b));
    }
    static std::size_t id = 0;
    const auto decode = static_cast<std::uint32_t>(tokens.size()) - prefill;
    EXPECT_TRUE(writer->add_request(
        {.id = std::to_string(id++), .domain = "", .prefill_tokens = prefill, .decode_tokens = decode},
        experts));
  }
  EXPECT_TRUE(writer->finish(8, {.format = "test", .sources = {}, .anomalies = {}}));
  const auto trace = Trace::open(files, "t.zarr");
  EXPECT_TRUE(trace) << trace.error().message;
  const auto first = first_identical(*trace, pool);
  EXPECT_TRUE(first) << first.error().message;
  return *first;
}

TEST(Identical, ARequestRecordedAgainPointsToTheFirst) {
  const Tokens a = {{1, 2}, {3, 4}, {5, 6}}, b = {{1, 2}, {3, 4}, {5, 7}};
  EXPECT_EQ(first_of({{1, a}, {1, b}, {1, a}, {1, a}}), (std::vector<std::uint32_t>{0, 1, 0, 0}));
}

TEST(Identical, OrderLengthAndWhereThePrefillEndsTellRequestsApart) {
  const Tokens a = {{1, 2}, {3, 4}}, turned = {{3, 4}, {1, 2}}, longer = {{1, 2}, {3, 4}, {3, 4}};
  EXPECT_EQ(first_of({{1, a}, {1, turned}, {1, longer}, {2, a}}), (std::vector<std::uint32_t>{0, 1, 2, 3}));
}

TEST(Identical, LayersThatAreReadLaterTellRequestsApartToo) {
  io::MemoryFiles files;
  ThreadPool pool(2);
  ModelShape shape{.model = "m", .model_layers = 5, .layers = {}, .experts = 8, .top_k = 1};
  for (std::size_t layer = 0; layer < 5; ++layer) shape.layers.push_back(LayerId(layer));
  auto writer = TokenWriter::open(files, "t.zarr", shape, {.fingerprint = "x"});
  ASSERT_TRUE(writer);
  for (std::size_t changed = 0; changed < 7; ++changed) {  // requests 5 and 6 are alike
    std::vector<ExpertId> experts(5, ExpertId(1));
    if (changed < 5) experts[changed] = ExpertId(2);
    ASSERT_TRUE(writer->add_request(
        {.id = std::to_string(changed), .domain = "", .prefill_tokens = 0, .decode_tokens = 1}, experts));
  }
  ASSERT_TRUE(writer->finish(8, {.format = "test", .sources = {}, .anomalies = {}}));
  const auto trace = Trace::open(files, "t.zarr");
  ASSERT_TRUE(trace) << trace.error().message;
  const auto first = first_identical(*trace, pool);
  ASSERT_TRUE(first) << first.error().message;
  EXPECT_EQ(*first, (std::vector<std::uint32_t>{0, 1, 2, 3, 4, 5, 5}));
}

}  // namespace
}  // namespace moesaic::trace
