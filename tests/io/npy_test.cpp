#include "io/npy.hpp"

#include <cmath>
#include <numeric>

#include "io/files.hpp"
#include "support/damage.hpp"

namespace moesaic::io {
namespace {

using moesaic::testing::for_each_bit_flip;
using moesaic::testing::for_each_truncation;
using moesaic::testing::read_bytes;
using moesaic::testing::test_data;

std::string fixture(const std::string& name) { return read_bytes(test_data("io/" + name + ".npy")); }

Result<Array> read(std::string_view bytes) { return read_npy(as_bytes(bytes), "x.npy"); }

std::string with_header(const std::string& header, const std::string& data = "") {
  return std::string("\x93NUMPY\x01\0", 8) + static_cast<char>(header.size() & 0xFF) +
         static_cast<char>(header.size() >> 8) + header + data;
}

void expect_error(std::string_view bytes, const std::string& part) {
  const auto array = read(bytes);
  ASSERT_FALSE(array) << part;
  EXPECT_EQ(array.error().kind, ErrorKind::kBadInput);
  EXPECT_NE(array.error().message.find("x.npy"), std::string::npos);
  EXPECT_NE(array.error().message.find(part), std::string::npos) << array.error().message;
}

std::vector<std::int64_t> first_numbers(std::size_t n) {
  std::vector<std::int64_t> out(n);
  std::iota(out.begin(), out.end(), 0);
  return out;
}

TEST(Npy, ReadsEveryNumberTypeThatNumpyWrote) {
  for (const char* type : {"int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64",
                           "float16", "float32", "float64"}) {
    const auto array = read(fixture(type));
    ASSERT_TRUE(array) << array.error().message;
    EXPECT_EQ(name(array->dtype), type);
    EXPECT_EQ(array->shape, (std::vector<std::uint64_t>{2, 3, 4}));
    EXPECT_EQ(*to_int64(*array, type), first_numbers(24)) << type;
    EXPECT_EQ(to_double(*array, type)->at(23), 23.0);
  }
  EXPECT_EQ(to_int64(*read(fixture("bool")), "")->at(1), 1);
}

TEST(Npy, BringsFortranOrderBigEndianAndLaterVersionsToOneForm) {
  for (const char* name : {"fortran", "big-endian", "big-endian-fortran", "version-2", "version-3"}) {
    const auto array = read(fixture(name));
    ASSERT_TRUE(array) << array.error().message;
    EXPECT_EQ(*to_int64(*array, name), first_numbers(24)) << name;
  }
}

TEST(Npy, ReadsScalarsEmptyArraysAndText) {
  const auto scalar = read(fixture("scalar"));
  EXPECT_TRUE(scalar->shape.empty());
  EXPECT_EQ(*to_int64(*scalar, ""), std::vector<std::int64_t>{7});
  EXPECT_EQ(read(fixture("empty"))->count(), 0u);
  EXPECT_EQ(*to_strings(*read(fixture("unicode")), ""), (std::vector<std::string>{"math", "中文", "😀", ""}));
  EXPECT_EQ(*to_strings(*read(fixture("unicode-big-endian")), ""), (std::vector<std::string>{"math", "é"}));
  EXPECT_EQ(*to_strings(*read(fixture("bytes")), ""), (std::vector<std::string>{"ab", "c"}));
}

TEST(Npy, HalvesAreExact) {
  const auto values = to_double(*read(fixture("halves")), "");
  ASSERT_EQ(values->size(), 9u);
  EXPECT_EQ((*values)[2], -2.0);
  EXPECT_EQ((*values)[4], 65504.0);
  EXPECT_EQ((*values)[5], std::ldexp(1.0, -24));
  EXPECT_TRUE(std::isinf((*values)[6]) && (*values)[7] < 0);
  EXPECT_TRUE(std::isnan((*values)[8]));
}

TEST(Npy, SaysWhatIsWrong) {
  const std::string end = ", 'fortran_order': False, 'shape': (1,), }\n";
  expect_error("", "does not begin");
  expect_error("\x93NUMPY", "cut short");
  expect_error(std::string("\x93NUMPY\x04\0\0\0\0\0", 12), "version 4.0");
  expect_error(fixture("objects"), "Python objects");
  expect_error(fixture("huge-shape"), "expected at most 0 bytes");
  expect_error(fixture("overflowing-shape"), "shape [4294967296");
  expect_error(with_header("{'descr': '<c8'" + end, "12345678"), "'<c8' is not known");
  expect_error(with_header("{'descr': '<i3'" + end, "123"), "'<i3' is not known");
  expect_error(with_header("{'descr': '<U0'" + end), "has no width");
  expect_error(with_header("{'descr': '<U99999999'" + end), "not known");
  expect_error(with_header("{'descr': [('a', '<i4')]" + end, "1234"), "records");
  expect_error(with_header("{'descr': '<i4'" + end, "12345"), "5 bytes after the npy header, expected 4");
  expect_error(with_header("{'descr': '<i4', 'descr': '<i4'" + end, "1234"), "'descr' is not expected");
  expect_error(with_header("{'other': '<i4'" + end, "1234"), "'other' is not expected");
  expect_error(with_header("{'descr': '<i4'}", "1234"), "the keys");
  expect_error(with_header("{'descr': '<i4'" + end + "more", "1234"), "after the closing");
  expect_error(with_header("{'descr': '<i4', 'fortran_order': 0"), "True or False");
  expect_error(with_header("{'descr': '<i4"), "without its end");
  expect_error(with_header("{'descr': 4"), "quoted");
  expect_error(with_header("['descr'"), "expected '{'");
  expect_error(with_header("{'shape': (1 2)"), "',' or ')'");
  expect_error(with_header("{'shape': (-1,)"), "whole number >= 0");
  expect_error(with_header("{'shape': (99999999999999999999,)"), "beyond 64 bits");
  std::string many = "{'shape': (";
  for (int i = 0; i < 40; ++i) many += "1,";
  expect_error(with_header(many), "more than 32 dimensions");
}

TEST(Npy, EveryCutFileIsAnErrorAndNoFlippedBitCrashes) {
  for (const char* name : {"int32", "version-2", "big-endian-fortran", "unicode", "scalar"}) {
    const std::string good = fixture(name);
    for_each_truncation(good,
                        [&](std::string_view cut, std::size_t n) { EXPECT_FALSE(read(cut)) << name << n; });
    for_each_bit_flip(good, [&](std::string_view bad, std::size_t) {
      const auto array = read(bad);
      if (!array) {
        EXPECT_FALSE(array.error().message.empty());
      } else {
        EXPECT_LE(array->data.size(), good.size());
      }
    });
  }
}

TEST(Npy, ConversionsRefuseWhatTheyWouldChange) {
  const auto text = *read(fixture("unicode"));
  EXPECT_NE(to_int64(text, "t").error().message.find("unicode, expected whole numbers"), std::string::npos);
  EXPECT_FALSE(to_double(text, "t"));
  EXPECT_FALSE(to_strings(*read(fixture("int32")), "t"));
  EXPECT_FALSE(to_int64(make_array({1}, std::vector<double>{0.5}), "t"));
  EXPECT_FALSE(to_int64(make_array({1}, std::vector<double>{1e300}), "t"));
  EXPECT_FALSE(to_int64(make_array({1}, std::vector<double>{std::nan("")}), "t"));
  EXPECT_TRUE(to_int64(make_array({1}, std::vector<double>{-3}), "t"));
  const std::int64_t beyond = (std::int64_t{1} << 53) + 1;
  EXPECT_FALSE(to_double(make_array({1}, std::vector<std::int64_t>{beyond}), "t"));
  EXPECT_FALSE(to_double(make_array({1}, std::vector<std::int64_t>{-beyond}), "t"));
  EXPECT_TRUE(to_double(make_array({1}, std::vector<std::int64_t>{beyond - 1}), "t"));
  Array big{.dtype = DType::kUint64,
            .item_bytes = 8,
            .shape = {1},
            .data = std::vector<std::byte>(8, std::byte{0xFF})};
  EXPECT_FALSE(to_int64(big, "t"));
  Array surrogate{.dtype = DType::kUnicode, .item_bytes = 4, .shape = {1}, .data = {}};
  surrogate.data = {std::byte{0}, std::byte{0xD8}, std::byte{0}, std::byte{0}};
  EXPECT_NE(to_strings(surrogate, "t").error().message.find("0xd800"), std::string::npos);
  Array latin{.dtype = DType::kBytes, .item_bytes = 1, .shape = {1}, .data = {std::byte{0xE9}}};
  EXPECT_NE(to_strings(latin, "t").error().message.find("not ASCII"), std::string::npos);
}

TEST(Npy, WritesTheBytesNumpyWrites) {
  for (const char* name :
       {"int32", "uint8", "bool", "float16", "int64", "scalar", "empty", "unicode", "bytes"}) {
    const std::string bytes = fixture(name);
    EXPECT_EQ(*write_npy(*read(bytes)), bytes) << name;
  }
  EXPECT_FALSE(write_npy(Array{.dtype = DType::kBfloat16, .item_bytes = 2, .shape = {0}, .data = {}}));
}

RC_GTEST_PROP(Npy, WrittenArraysReadBackEqual, (const std::vector<std::int32_t>& values)) {
  const Array array = make_array({1, values.size()}, values);
  const auto again = read(*write_npy(array));
  RC_ASSERT(again && again->shape == array.shape && again->data == array.data);
}

}  // namespace
}  // namespace moesaic::io
