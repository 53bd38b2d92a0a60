#include "io/array.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <bit>
#include <cmath>
#include <cstring>

#include "core/check.hpp"

namespace moesaic::io {
namespace {

static_assert(std::endian::native == std::endian::little, "arrays are kept in little endian");

template <class T>
T element(const Array& array, std::size_t i) {
  T value;
  std::memcpy(&value, array.data.data() + i * sizeof(T), sizeof(T));
  return value;
}

/// Calls f with the elements one after another in their own type (float for the 16-bit floats); stops and
/// returns false when f does. REQUIRES: a number type.
template <class F>
bool for_each_number(const Array& array, F f) {
  const auto each = [&]<class T>(T) {
    const std::size_t n = array.data.size() / sizeof(T);
    for (std::size_t i = 0; i < n; ++i) {
      if (!f(i, element<T>(array, i))) return false;
    }
    return true;
  };
  const auto each_half = [&](auto convert) {
    for (std::size_t i = 0; i < array.data.size() / 2; ++i) {
      if (!f(i, convert(element<std::uint16_t>(array, i)))) return false;
    }
    return true;
  };
  switch (array.dtype) {
    case DType::kBool:
    case DType::kUint8:
      return each(std::uint8_t{});
    case DType::kInt8:
      return each(std::int8_t{});
    case DType::kInt16:
      return each(std::int16_t{});
    case DType::kUint16:
      return each(std::uint16_t{});
    case DType::kInt32:
      return each(std::int32_t{});
    case DType::kUint32:
      return each(std::uint32_t{});
    case DType::kInt64:
      return each(std::int64_t{});
    case DType::kUint64:
      return each(std::uint64_t{});
    case DType::kFloat32:
      return each(float{});
    case DType::kFloat64:
      return each(double{});
    case DType::kFloat16:
      return each_half(half_to_float);
    case DType::kBfloat16:
      return each_half([](std::uint16_t bits) { return std::bit_cast<float>(std::uint32_t{bits} << 16); });
    case DType::kUnicode:
    case DType::kBytes:
      break;
  }
  MOESAIC_CHECK(false);
}

bool append_utf8(std::string& out, std::uint32_t code) {
  if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) return false;
  const auto put = [&](std::uint32_t byte) { out += static_cast<char>(byte); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | code >> 6);
    put(0x80 | (code & 63));
  } else if (code < 0x10000) {
    put(0xE0 | code >> 12);
    put(0x80 | (code >> 6 & 63));
    put(0x80 | (code & 63));
  } else {
    put(0xF0 | code >> 18);
    put(0x80 | (code >> 12 & 63));
    put(0x80 | (code >> 6 & 63));
    put(0x80 | (code & 63));
  }
  return true;
}

template <class T>
Array array_of(DType dtype, std::vector<std::uint64_t> shape, const std::vector<T>& values) {
  Array array{.dtype = dtype, .item_bytes = sizeof(T), .shape = std::move(shape), .data = {}};
  MOESAIC_CHECK(array.count() == values.size());
  array.data.resize(values.size() * sizeof(T));
  if (!values.empty()) std::memcpy(array.data.data(), values.data(), array.data.size());
  return array;
}

}  // namespace

std::string_view name(DType dtype) {
  constexpr std::string_view kNames[] = {"bool",     "int8",    "uint8",   "int16",   "uint16",
                                         "int32",    "uint32",  "int64",   "uint64",  "float16",
                                         "bfloat16", "float32", "float64", "unicode", "bytes"};
  return kNames[static_cast<std::size_t>(dtype)];
}

std::size_t size_of(DType dtype) {
  constexpr std::size_t kSizes[] = {1, 1, 1, 2, 2, 4, 4, 8, 8, 2, 2, 4, 8, 0, 0};
  return kSizes[static_cast<std::size_t>(dtype)];
}

bool is_integer(DType dtype) { return dtype <= DType::kUint64; }
bool is_float(DType dtype) { return dtype >= DType::kFloat16 && dtype <= DType::kFloat64; }

std::uint64_t Array::count() const {
  std::uint64_t n = 1;
  for (const std::uint64_t size : shape) n *= size;
  return n;
}

std::string Array::shape_text() const { return fmt::format("[{}]", fmt::join(shape, ", ")); }

Result<std::uint64_t> checked_bytes(const std::vector<std::uint64_t>& shape, std::size_t item_bytes,
                                    std::uint64_t max_bytes, const std::string& where) {
  std::uint64_t bytes = item_bytes;
  bool overflow = false, empty = false;
  for (const std::uint64_t size : shape) {
    empty = empty || size == 0;
    overflow = overflow || __builtin_mul_overflow(bytes, size, &bytes);
  }
  // [2^60, 0] is empty whatever the other sizes say, but nothing we read has such a shape.
  if (overflow || (!empty && bytes > max_bytes)) {
    return bad_input(fmt::format("{}: shape [{}] of {}-byte elements, expected at most {} bytes in all",
                                 where, fmt::join(shape, ", "), item_bytes, max_bytes));
  }
  return bytes;
}

float half_to_float(std::uint16_t bits) {
  const std::uint32_t sign = std::uint32_t{bits & 0x8000u} << 16;
  const std::uint32_t exponent = bits >> 10 & 0x1Fu;
  const std::uint32_t fraction = bits & 0x3FFu;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7F800000u | fraction << 13);
  if (exponent == 0) {
    const float magnitude = std::ldexp(static_cast<float>(fraction), -24);
    return sign != 0 ? -magnitude : magnitude;
  }
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
}

Result<std::vector<std::int64_t>> to_int64(const Array& array, const std::string& where) {
  if (!is_integer(array.dtype) && !is_float(array.dtype)) {
    return bad_input(
        fmt::format("{}: elements of type {}, expected whole numbers", where, name(array.dtype)));
  }
  std::vector<std::int64_t> out;
  out.reserve(array.data.size() / array.item_bytes);
  std::size_t bad = 0;
  const bool whole = for_each_number(array, [&]<class T>(std::size_t i, T value) {
    bad = i;
    if constexpr (std::is_floating_point_v<T>) {
      constexpr T kLimit = static_cast<T>(9223372036854774784.0);  // the last double below 2^63
      if (!(std::abs(value) <= kLimit) || value != std::trunc(value)) return false;
    } else if constexpr (std::is_same_v<T, std::uint64_t>) {
      if (value > static_cast<std::uint64_t>(INT64_MAX)) return false;
    }
    out.push_back(static_cast<std::int64_t>(value));
    return true;
  });
  if (!whole) {
    return bad_input(fmt::format("{}: element {} of a {} array is no whole number within 64 bits", where, bad,
                                 name(array.dtype)));
  }
  return out;
}

Result<std::vector<double>> to_double(const Array& array, const std::string& where) {
  if (!is_integer(array.dtype) && !is_float(array.dtype)) {
    return bad_input(fmt::format("{}: elements of type {}, expected numbers", where, name(array.dtype)));
  }
  std::vector<double> out;
  out.reserve(array.data.size() / array.item_bytes);
  std::size_t bad = 0;
  const bool exact = for_each_number(array, [&]<class T>(std::size_t i, T value) {
    bad = i;
    if constexpr (sizeof(T) == 8 && !std::is_floating_point_v<T>) {
      constexpr auto kExact = std::int64_t{1} << 53;
      if (value > static_cast<T>(kExact)) return false;
      if constexpr (std::is_signed_v<T>) {
        if (value < -kExact) return false;
      }
    }
    out.push_back(static_cast<double>(value));
    return true;
  });
  if (!exact) {
    return bad_input(fmt::format("{}: element {} of a {} array is beyond 2^53 and has no exact double", where,
                                 bad, name(array.dtype)));
  }
  return out;
}

Result<std::vector<std::string>> to_strings(const Array& array, const std::string& where) {
  if (array.dtype != DType::kUnicode && array.dtype != DType::kBytes) {
    return bad_input(fmt::format("{}: elements of type {}, expected text", where, name(array.dtype)));
  }
  std::vector<std::string> out;
  const std::size_t n = static_cast<std::size_t>(array.count());
  for (std::size_t i = 0; i < n; ++i) {
    std::string text;
    if (array.dtype == DType::kUnicode) {
      for (std::size_t c = 0; c < array.item_bytes / 4; ++c) {
        const auto code = element<std::uint32_t>(array, i * (array.item_bytes / 4) + c);
        if (!append_utf8(text, code)) {
          return bad_input(
              fmt::format("{}: element {} holds 0x{:x}, which is no Unicode character", where, i, code));
        }
      }
    } else {
      text.assign(reinterpret_cast<const char*>(array.data.data()) + i * array.item_bytes, array.item_bytes);
      for (const char c : text) {
        if (static_cast<unsigned char>(c) >= 0x80) {
          return bad_input(
              fmt::format("{}: element {} of a bytes array is not ASCII; store it as U", where, i));
        }
      }
    }
    while (text.ends_with('\0')) text.pop_back();
    out.push_back(std::move(text));
  }
  return out;
}

Array make_array(std::vector<std::uint64_t> shape, const std::vector<std::int32_t>& values) {
  return array_of(DType::kInt32, std::move(shape), values);
}
Array make_array(std::vector<std::uint64_t> shape, const std::vector<std::int64_t>& values) {
  return array_of(DType::kInt64, std::move(shape), values);
}
Array make_array(std::vector<std::uint64_t> shape, const std::vector<double>& values) {
  return array_of(DType::kFloat64, std::move(shape), values);
}

}  // namespace moesaic::io
