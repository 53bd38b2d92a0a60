#include "simulate/bit_rows.hpp"

#include <algorithm>

namespace moesaic::simulate {
namespace {

/// Sums eight-bit lanes over many words.
template <class Word>
std::int64_t sum_bits(std::size_t count, Word word_at) {
  constexpr std::uint64_t k01 = 0x5555555555555555, k0011 = 0x3333333333333333, k4 = 0x0F0F0F0F0F0F0F0F;
  std::int64_t total = 0;
  for (std::size_t begin = 0; begin < count; begin += 31) {  // 31 x 8 < 256: a lane cannot overflow
    const std::size_t end = std::min(count, begin + 31);
    std::uint64_t lanes = 0;
    for (std::size_t i = begin; i < end; ++i) {
      std::uint64_t word = word_at(i);
      word -= (word >> 1) & k01;
      word = (word & k0011) + ((word >> 2) & k0011);
      lanes += (word + (word >> 4)) & k4;
    }
    // Two halves: eight lanes of up to 248 add up to more than a byte.
    constexpr std::uint64_t kBytes = 0x00FF00FF00FF00FF;
    const std::uint64_t pairs = (lanes & kBytes) + ((lanes >> 8) & kBytes);
    total += static_cast<std::int64_t>((pairs * 0x0001000100010001) >> 48);
  }
  return total;
}

}  // namespace

std::int64_t count_bits(const std::uint64_t* words, std::size_t count) {
  return sum_bits(count, [&](std::size_t i) { return words[i]; });
}

std::int64_t count_added(const std::uint64_t* words, const std::uint64_t* any, std::size_t count) {
  return sum_bits(count, [&](std::size_t i) { return words[i] & ~any[i]; });
}

}  // namespace moesaic::simulate
