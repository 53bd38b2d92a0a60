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

void mix(std::span<float> out, const float* own, float scale,
         const std::array<const float*, kMixedRows>& rows, const std::array<float, kMixedRows>& weights,
         float rest) {
  const std::size_t whole = out.size() / kLanes * kLanes;
  const Lanes one = {1, 1, 1, 1};
  for (std::size_t i = 0; i < whole; i += kLanes) {
    Lanes sum = load(rows[0] + i) * weights[0];
    for (std::size_t r = 1; r < kMixedRows; ++r) sum += load(rows[r] + i) * weights[r];
    const Lanes mixed = load(own + i) * scale + sum * rest;
    const Lanes bounded = mixed < one ? mixed : one;
    std::memcpy(out.data() + i, &bounded, sizeof bounded);
  }
  for (std::size_t i = whole; i < out.size(); ++i) {
    float sum = rows[0][i] * weights[0];
    for (std::size_t r = 1; r < kMixedRows; ++r) sum += rows[r][i] * weights[r];
    const float mixed = own[i] * scale + sum * rest;
    out[i] = mixed < 1 ? mixed : 1;
  }
}

}  // namespace moesaic::signature
