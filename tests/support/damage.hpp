// Damaged copies of a good file, for the tests of parsers.
#pragma once

#include <cstddef>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

#include "support/paths.hpp"

namespace moesaic::testing {

/// A file under tests/data/.
inline std::string test_data(const std::string& name) { return source_path("tests/data/" + name); }

inline std::string read_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// Calls f(copy cut to n bytes, n) for every n below the size.
template <class F>
void for_each_truncation(std::string_view good, F f) {
  for (std::size_t n = 0; n < good.size(); ++n) f(good.substr(0, n), n);
}

/// Calls f(copy with one bit of byte i flipped, i) for every byte; the bit changes from byte to byte.
template <class F>
void for_each_bit_flip(std::string_view good, F f) {
  std::string bytes(good);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const char before = bytes[i];
    bytes[i] = static_cast<char>(before ^ 1 << i % 8);
    f(std::string_view(bytes), i);
    bytes[i] = before;
  }
}

}  // namespace moesaic::testing
