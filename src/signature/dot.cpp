#include "signature/dot.hpp"

#include <array>
#include <cstddef>
#include <cstring>

#include "core/check.hpp"

namespace moesaic::signature {
namespace {

constexpr std::size_t kSums = 32, kLanes = 4, kVectors = kSums / kLanes;
typedef float Lanes __attribute__((vector_size(sizeof(float) * kLanes)));

float tree_sum(std::array<float, kSums>& sums) {
  for (std::size_t width = kSums / 2; width > 0; width /= 2) {
    for (std::size_t i = 0; i < width; ++i) sums[i] += sums[i + width];
  }
  return sums[0];
}

/// The elements behind the last whole block of kSums.
void add_tail(std::span<const float> a, std::span<const float> b, std::size_t from,
              std::array<float, kSums>& sums) {
  for (std::size_t i = from; i < a.size(); ++i) sums[i - from] += a[i] * b[i];
}

Lanes load(const float* from) {
  Lanes lanes;
  std::memcpy(&lanes, from, sizeof lanes);
  return lanes;
}

}  // namespace

float dot(std::span<const float> a, std::span<const float> b) {
  MOESAIC_CHECK(a.size() == b.size());
  Lanes vectors[kVectors] = {};
  const std::size_t whole = a.size() / kSums * kSums;
  const float *left = a.data(), *right = b.data();
  for (std::size_t i = 0; i < whole; i += kSums) {
    for (std::size_t v = 0; v < kVectors; ++v) {
      vectors[v] += load(left + i + v * kLanes) * load(right + i + v * kLanes);
    }
  }
  std::array<float, kSums> sums;
  std::memcpy(sums.data(), vectors, sizeof vectors);
  add_tail(a, b, whole, sums);
  return tree_sum(sums);
}

float dot_scalar(std::span<const float> a, std::span<const float> b) {
  MOESAIC_CHECK(a.size() == b.size());
  std::array<float, kSums> sums{};
  const std::size_t whole = a.size() / kSums * kSums;
  for (std::size_t i = 0; i < whole; ++i) sums[i % kSums] += a[i] * b[i];
  add_tail(a, b, whole, sums);
  return tree_sum(sums);
}

}  // namespace moesaic::signature
