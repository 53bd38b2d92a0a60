#include "signature/ranks.hpp"

#include <array>
#include <bit>
#include <cmath>

#include "core/check.hpp"

namespace moesaic::signature {
namespace {

/// Bits that order as the floats do; -0 like +0.
std::uint32_t ordered_bits(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value + 0.0F);
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

constexpr unsigned kDigit = 11;
constexpr std::size_t kBuckets = std::size_t{1} << kDigit;

}  // namespace

void Ranker::doubled_ranks(std::span<const float> values, std::span<std::int64_t> ranks) {
  const std::size_t n = values.size();
  MOESAIC_CHECK(ranks.size() == n);
  keys_.resize(n);
  other_.resize(n);
  for (std::size_t i = 0; i < n; ++i) keys_[i] = (std::uint64_t{ordered_bits(values[i])} << 32) | i;
  for (unsigned shift = 32; shift < 64; shift += kDigit) {
    std::array<std::size_t, kBuckets> at{};
    for (const std::uint64_t key : keys_) ++at[(key >> shift) & (kBuckets - 1)];
    std::size_t sum = 0;
    for (std::size_t& bucket : at) {
      const std::size_t count = bucket;
      bucket = sum;
      sum += count;
    }
    for (const std::uint64_t key : keys_) other_[at[(key >> shift) & (kBuckets - 1)]++] = key;
    keys_.swap(other_);
  }
  for (std::size_t begin = 0; begin < n;) {
    std::size_t end = begin + 1;
    while (end < n && (keys_[end] >> 32) == (keys_[begin] >> 32)) ++end;
    const auto doubled = static_cast<std::int64_t>(begin + end - 1);
    for (std::size_t i = begin; i < end; ++i) ranks[keys_[i] & 0xFFFFFFFFu] = doubled;
    begin = end;
  }
}

double rank_correlation(std::span<const std::int64_t> a, std::span<const std::int64_t> b) {
  MOESAIC_CHECK(a.size() == b.size() && a.size() < (std::size_t{1} << 20));
  if (a.empty()) return 0;
  // Doubled ranks lie around n - 1, and their mean is exactly that.
  const auto mean = static_cast<std::int64_t>(a.size()) - 1;
  std::int64_t ab = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const std::int64_t x = a[i] - mean, y = b[i] - mean;
    ab += x * y;
    aa += x * x;
    bb += y * y;
  }
  if (aa == 0 || bb == 0) return 0;
  return static_cast<double>(ab) / std::sqrt(static_cast<double>(aa)) / std::sqrt(static_cast<double>(bb));
}

}  // namespace moesaic::signature
