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

void add_rows(std::span<float> out, const std::array<const float*, kRowsAtOnce>& rows,
              const std::array<float, kRowsAtOnce>& weights) {
  const std::size_t whole = out.size() / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes) {
    Lanes sum = load(out.data() + i);
    for (std::size_t r = 0; r < kRowsAtOnce; ++r) sum += load(rows[r] + i) * weights[r];
    std::memcpy(out.data() + i, &sum, sizeof sum);
  }
  for (std::size_t i = whole; i < out.size(); ++i) {
    for (std::size_t r = 0; r < kRowsAtOnce; ++r) out[i] += rows[r][i] * weights[r];
  }
}

void blend(std::span<float> out, const float* own, float scale, float rest) {
  const std::size_t whole = out.size() / kLanes * kLanes;
  const Lanes zero = {}, one = {1, 1, 1, 1};
  for (std::size_t i = 0; i < whole; i += kLanes) {
    Lanes mixed = load(own + i) * scale + load(out.data() + i) * rest;
    mixed = mixed < one ? mixed : one;
    mixed = mixed > zero ? mixed : zero;
    std::memcpy(out.data() + i, &mixed, sizeof mixed);
  }
  for (std::size_t i = whole; i < out.size(); ++i) {
    float mixed = own[i] * scale + out[i] * rest;
    mixed = mixed < 1 ? mixed : 1;
    out[i] = mixed > 0 ? mixed : 0;
  }
}

}  // namespace moesaic::signature
