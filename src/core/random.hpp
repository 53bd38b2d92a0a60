// The project's own randomness: the same numbers on every machine. Generators are passed in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>
#include <utility>

#include "core/check.hpp"

namespace moesaic {

/// One step of SplitMix64 (Steele, Lea, Flood 2014).
constexpr std::uint64_t splitmix64(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

/// h = 0; for v: h = splitmix64(h xor v). A number that depends on the counters alone, in any order of
/// evaluation and on any thread.
constexpr std::uint64_t counter_hash(std::initializer_list<std::uint64_t> counters) {
  std::uint64_t hash = 0;
  for (const std::uint64_t value : counters) hash = splitmix64(hash ^ value);
  return hash;
}

/// FNV-1a, 64 bits. Not against an adversary.
constexpr std::uint64_t hash_bytes(std::string_view bytes) {
  std::uint64_t hash = 0xCBF29CE484222325u;
  for (const char byte : bytes) hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001B3u;
  return hash;
}

/// PCG32 (XSH RR 64/32; O'Neill 2014).
class Pcg32 {
 public:
  explicit constexpr Pcg32(std::uint64_t seed, std::uint64_t stream = 0) : increment_((stream << 1) | 1) {
    next();
    state_ += seed;
    next();
  }

  constexpr std::uint32_t next() {
    const std::uint64_t old = state_;
    state_ = old * 6364136223846793005u + increment_;
    const auto xorshifted = static_cast<std::uint32_t>(((old >> 18) ^ old) >> 27);
    const auto rotation = static_cast<std::uint32_t>(old >> 59);
    return (xorshifted >> rotation) | (xorshifted << ((32 - rotation) & 31));
  }

  /// Uniform in [0, bound), without bias (Lemire 2019). REQUIRES: bound > 0.
  constexpr std::uint32_t below(std::uint32_t bound) {
    std::uint64_t product = std::uint64_t{next()} * bound;
    if (static_cast<std::uint32_t>(product) < bound) {
      const std::uint32_t threshold = (0u - bound) % bound;
      while (static_cast<std::uint32_t>(product) < threshold) product = std::uint64_t{next()} * bound;
    }
    return static_cast<std::uint32_t>(product >> 32);
  }

  /// Uniform in [0, 1), 53 bits.
  constexpr double uniform() {
    const std::uint64_t high = next();
    return static_cast<double>(((high << 32) | next()) >> 11) * 0x1.0p-53;
  }

 private:
  std::uint64_t state_ = 0;
  std::uint64_t increment_;
};

/// Fisher-Yates. REQUIRES: items.size() < 2^32.
template <class T>
void shuffle(std::span<T> items, Pcg32& random) {
  MOESAIC_CHECK(items.size() <= 0xFFFFFFFFu);
  for (std::size_t i = items.size(); i > 1; --i) {
    using std::swap;
    swap(items[i - 1], items[random.below(static_cast<std::uint32_t>(i))]);
  }
}

}  // namespace moesaic
