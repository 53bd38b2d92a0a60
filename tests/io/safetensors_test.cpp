#include "io/safetensors.hpp"

#include "io/memory_file.hpp"
#include "support/damage.hpp"
#include "support/shared_data.hpp"

namespace moesaic::io {
namespace {

using moesaic::testing::read_bytes;
using moesaic::testing::shared_data;
using moesaic::testing::test_data;

std::string with_header(const std::string& header, std::size_t data_bytes) {
  std::string out;
  for (std::size_t i = 0; i < 8; ++i) out += static_cast<char>(header.size() >> 8 * i & 0xFF);
  return out + header + std::string(data_bytes, '\x01');
}

void expect_error(const std::string& bytes, const std::string& part) {
  const MemoryFile file(as_bytes(bytes));
  const auto tensors = Safetensors::open(file, "x.safetensors");
  ASSERT_FALSE(tensors) << part;
  EXPECT_NE(tensors.error().message.find("x.safetensors"), std::string::npos);
  EXPECT_NE(tensors.error().message.find(part), std::string::npos) << tensors.error().message;
}

TEST(Safetensors, ReadsTensorsOnDemand) {
  const auto file = real_files().open(test_data("io/two.safetensors"));
  const auto tensors = Safetensors::open(**file, "two");
  ASSERT_TRUE(tensors) << tensors.error().message;
  ASSERT_EQ(tensors->entries().size(), 2u);
  EXPECT_EQ(tensors->entries()[0].name, "a");
  EXPECT_EQ(*to_int64(*tensors->read(tensors->entries()[0]), ""),
            (std::vector<std::int64_t>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(*to_double(*tensors->read(tensors->entries()[1]), ""), (std::vector<double>{0.5, 2}));
}

TEST(Safetensors, ReadsTheStatisticsOfTensorRtLlm) {
  MOESAIC_NEEDS_SHARED("formats/trtllm-statistics");
  const auto file = real_files().open(shared_data("formats/trtllm-statistics/rank0.safetensors"));
  const auto tensors = Safetensors::open(**file, "rank0");
  ASSERT_TRUE(tensors) << tensors.error().message;
  EXPECT_EQ(tensors->entries().size(), 8u);
  EXPECT_EQ(tensors->entries()[0].shape, std::vector<std::uint64_t>{256});
}

TEST(Safetensors, SaysWhatIsWrong) {
  const auto entry = [](const std::string& dtype, const std::string& shape, const std::string& offsets) {
    return R"({"t":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
  };
  expect_error("", "cut short");
  expect_error(read_bytes(test_data("io/long-header.safetensors")), "1152921504606846976 bytes");
  expect_error(read_bytes(test_data("io/nested.safetensors")), "nested deeper");
  expect_error(with_header("[]", 0), "no JSON object");
  expect_error(with_header("{", 0), "header: byte");
  expect_error(with_header(entry("Q4", "[1]", "[0,1]"), 1), "dtype \"Q4\"");
  expect_error(with_header(R"({"t":{}})", 0), "dtype is missing");
  expect_error(with_header(R"({"t":{"dtype":"I8"}})", 0), "no shape");
  expect_error(with_header(entry("I8", "[-1]", "[0,1]"), 1), "no list of sizes");
  expect_error(with_header(entry("I8", "[1]", "[0,2]"), 1), "within 1 bytes");
  expect_error(with_header(entry("I8", "[1]", "[1,0]"), 1), "data_offsets [1,0]");
  expect_error(with_header(entry("I8", "[1]", "[0]"), 1), "data_offsets [0]");
  expect_error(with_header(entry("I16", "[1]", "[0,1]"), 1), "shape [1] of 2-byte");
  expect_error(with_header(entry("I8", "[1]", "[0,2]"), 2), "needs 1 bytes");
  expect_error(with_header(entry("I8", "[1152921504606846976,1152921504606846976]", "[0,1]"), 1),
               "expected at most");
  expect_error(with_header(entry("I8", "[1]", "[1,2]"), 2), "without holes");
  expect_error(with_header(entry("I8", "[1]", "[0,1]"), 2), "end at byte");
  expect_error(with_header(R"({"a":{"dtype":"I8","shape":[2],"data_offsets":[0,2]},)"
                           R"("b":{"dtype":"I8","shape":[2],"data_offsets":[1,3]}})",
                           3),
               "without holes or overlaps");
}

TEST(Safetensors, EveryCutFileIsAnErrorAndNoFlippedBitCrashes) {
  const std::string good = read_bytes(test_data("io/two.safetensors"));
  moesaic::testing::for_each_truncation(good, [&](std::string_view cut, std::size_t n) {
    EXPECT_FALSE(Safetensors::open(MemoryFile(as_bytes(cut)), "x")) << n;
  });
  moesaic::testing::for_each_bit_flip(good, [&](std::string_view bad, std::size_t) {
    const MemoryFile file(as_bytes(bad));
    const auto tensors = Safetensors::open(file, "x");
    if (!tensors) return;
    for (const SafetensorsEntry& entry : tensors->entries()) EXPECT_TRUE(tensors->read(entry));
  });
}

}  // namespace
}  // namespace moesaic::io
