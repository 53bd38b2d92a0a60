// A dense array as foreign containers hold it (npy, torch storages, safetensors), brought to one form:
// C order, little endian. Element types are kept; conversions are checked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"

namespace moesaic::io {

enum class DType {
  kBool,
  kInt8,
  kUint8,
  kInt16,
  kUint16,
  kInt32,
  kUint32,
  kInt64,
  kUint64,
  kFloat16,
  kBfloat16,
  kFloat32,
  kFloat64,
  kUnicode,  ///< numpy "U": item_bytes / 4 code points of 4 bytes, NUL padded
  kBytes,    ///< numpy "S": item_bytes bytes, NUL padded
};

/// "int32", "float16", "unicode", ...
std::string_view name(DType dtype);
/// Bytes of one element; 0 for kUnicode and kBytes, whose width is the array's own.
std::size_t size_of(DType dtype);
bool is_integer(DType dtype);  ///< bool counts
bool is_float(DType dtype);

struct Array {
  DType dtype = DType::kUint8;
  std::size_t item_bytes = 1;
  std::vector<std::uint64_t> shape;  ///< empty = one scalar
  std::vector<std::byte> data;       ///< count() * item_bytes

  /// Elements: the product of `shape`.
  std::uint64_t count() const;
  /// "[3, 24, 4]"
  std::string shape_text() const;
};

/// Product of `shape` times `item_bytes`, or an error naming `where` when it exceeds `max_bytes`.
Result<std::uint64_t> checked_bytes(const std::vector<std::uint64_t>& shape, std::size_t item_bytes,
                                    std::uint64_t max_bytes, const std::string& where);

/// All elements in C order. Errors name `where`: a type that holds no whole numbers, a float that is not
/// whole, a value beyond int64.
Result<std::vector<std::int64_t>> to_int64(const Array& array, const std::string& where);
/// Any number; whole numbers beyond 2^53 in magnitude are refused, because a double would change them.
Result<std::vector<double>> to_double(const Array& array, const std::string& where);
/// UTF-8, trailing NULs cut. Errors: not a text array, a code point that is none, bytes that are not ASCII.
Result<std::vector<std::string>> to_strings(const Array& array, const std::string& where);

/// Exact value of an IEEE 754 binary16.
float half_to_float(std::uint16_t bits);

/// Arrays from values, for tests and exports. REQUIRES: product of shape == values.size().
Array make_array(std::vector<std::uint64_t> shape, const std::vector<std::int32_t>& values);
Array make_array(std::vector<std::uint64_t> shape, const std::vector<std::int64_t>& values);
Array make_array(std::vector<std::uint64_t> shape, const std::vector<double>& values);

}  // namespace moesaic::io
