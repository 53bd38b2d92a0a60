// Rows of bits, one a (layer, expert), as Recording::bits holds them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace moesaic::simulate {

/// Bits set in `count` words. Without -march the built-in is a call a word; this takes about 1 ns.
std::int64_t count_bits(const std::uint64_t* words, std::size_t count);

/// Bits set in `words` and not in `any`.
std::int64_t count_added(const std::uint64_t* words, const std::uint64_t* any, std::size_t count);

/// any |= words.
inline void add_bits(std::uint64_t* any, const std::uint64_t* words, std::size_t count) {
  for (std::size_t w = 0; w < count; ++w) any[w] |= words[w];
}

}  // namespace moesaic::simulate
