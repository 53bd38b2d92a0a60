#include "signature/dot.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "core/check.hpp"

namespace moesaic::signature {
namespace {

constexpr std::size_t kLanes = 4, kVectors = kDotSums / kLanes;
typedef float Lanes __attribute__((vector_size(sizeof(float) * kLanes)));
typedef std::int32_t Ints __attribute__((vector_size(sizeof(float) * kLanes)));

float tree_sum(std::array<float, kDotSums>& sums) {
  for (std::size_t width = kDotSums / 2; width > 0; width /= 2) {
    for (std::size_t i = 0; i < width; ++i) sums[i] += sums[i + width];
  }
  return sums[0];
}

/// The elements behind the last whole block of kDotSums.
void add_tail(std::span<const float> a, std::span<const float> b, std::size_t from,
              std::array<float, kDotSums>& sums) {
  for (std::size_t i = from; i < a.size(); ++i) sums[i - from] += a[i] * b[i];
}

Lanes load(const float* from) {
  Lanes lanes;
  std::memcpy(&lanes, from, sizeof lanes);
  return lanes;
}

std::size_t lanes_dot(const float* a, const float* b, std::size_t size, std::array<float, kDotSums>& sums) {
  Lanes vectors[kVectors];
  std::memcpy(vectors, sums.data(), sizeof vectors);
  const std::size_t whole = size / kDotSums * kDotSums;
  for (std::size_t i = 0; i < whole; i += kDotSums) {
    for (std::size_t v = 0; v < kVectors; ++v)
      vectors[v] += load(a + i + v * kLanes) * load(b + i + v * kLanes);
  }
  std::memcpy(sums.data(), vectors, sizeof vectors);
  return whole;
}

std::size_t lanes_add_rows(float* out, const std::array<const float*, kRowsAtOnce>& rows,
                           const std::array<float, kRowsAtOnce>& weights, std::size_t size) {
  const std::size_t whole = size / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes) {
    Lanes sum = load(out + i);
    for (std::size_t r = 0; r < kRowsAtOnce; ++r) sum += load(rows[r] + i) * weights[r];
    std::memcpy(out + i, &sum, sizeof sum);
  }
  return whole;
}

std::size_t lanes_blend(float* out, const float* own, float scale, float rest, std::size_t size) {
  const std::size_t whole = size / kLanes * kLanes;
  const Lanes zero = {}, one = {1, 1, 1, 1};
  for (std::size_t i = 0; i < whole; i += kLanes) {
    Lanes mixed = load(own + i) * scale + load(out + i) * rest;
    mixed = mixed < one ? mixed : one;
    mixed = mixed > zero ? mixed : zero;
    std::memcpy(out + i, &mixed, sizeof mixed);
  }
  return whole;
}

float decay_of(float x) {
  using S = DecaySeries;
  const float t = (x < S::kLargest ? x : S::kLargest) * S::kMinusLog2E;
  const float rounded = t + S::kRound;
  const float f = t - (rounded - S::kRound);
  float power = S::kTerms[0];
  for (std::size_t k = 1; k < S::kTerms.size(); ++k) power = power * f + S::kTerms[k];
  power = power * f + 1;
  const std::int32_t n = std::bit_cast<std::int32_t>(rounded) - std::bit_cast<std::int32_t>(S::kRound);
  return power * std::bit_cast<float>((n + S::kExponentBias) << S::kMantissaBits);
}

std::size_t lanes_decay(float* out, const std::int32_t* units, float a, const float* rates, float b,
                        std::size_t size) {
  using S = DecaySeries;
  const Lanes zero = {}, most = zero + S::kLargest, round = zero + S::kRound;
  const std::size_t whole = size / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes) {
    Ints unit;
    std::memcpy(&unit, units + i, sizeof unit);
    const Lanes x = __builtin_convertvector(unit, Lanes) * a + load(rates + i) * b;
    const Lanes t = (x < most ? x : most) * S::kMinusLog2E;
    const Lanes rounded = t + round;
    const Lanes f = t - (rounded - round);
    Lanes power = zero + S::kTerms[0];
    for (std::size_t k = 1; k < S::kTerms.size(); ++k) power = power * f + S::kTerms[k];
    power = power * f + 1.0f;
    const Ints n = std::bit_cast<Ints>(rounded) - std::bit_cast<Ints>(round);
    const Lanes scaled = power * std::bit_cast<Lanes>((n + S::kExponentBias) << S::kMantissaBits);
    std::memcpy(out + i, &scaled, sizeof scaled);
  }
  return whole;
}

float root_of(float in, float scale, float shift) {
  const float x = in * scale + shift;
  return std::sqrt(x > 0 ? x : 0);
}

std::size_t lanes_roots(float* out, const float* in, float scale, float shift, std::size_t size) {
  const std::size_t whole = size / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; ++i) out[i] = root_of(in[i], scale, shift);
  return whole;
}

const RowKernels& kernels() {
  static const RowKernels& chosen = avx2_kernels() != nullptr ? *avx2_kernels() : portable_kernels();
  return chosen;
}

}  // namespace

const RowKernels& portable_kernels() {
  static constexpr RowKernels kKernels{lanes_dot, lanes_add_rows, lanes_blend, lanes_decay, lanes_roots};
  return kKernels;
}

float dot(std::span<const float> a, std::span<const float> b) {
  MOESAIC_CHECK(a.size() == b.size());
  std::array<float, kDotSums> sums{};
  add_tail(a, b, kernels().dot(a.data(), b.data(), a.size(), sums), sums);
  return tree_sum(sums);
}

float dot_scalar(std::span<const float> a, std::span<const float> b) {
  MOESAIC_CHECK(a.size() == b.size());
  std::array<float, kDotSums> sums{};
  const std::size_t whole = a.size() / kDotSums * kDotSums;
  for (std::size_t i = 0; i < whole; ++i) sums[i % kDotSums] += a[i] * b[i];
  add_tail(a, b, whole, sums);
  return tree_sum(sums);
}

void add_rows(std::span<float> out, const std::array<const float*, kRowsAtOnce>& rows,
              const std::array<float, kRowsAtOnce>& weights) {
  for (std::size_t i = kernels().add_rows(out.data(), rows, weights, out.size()); i < out.size(); ++i) {
    for (std::size_t r = 0; r < kRowsAtOnce; ++r) out[i] += rows[r][i] * weights[r];
  }
}

void add_rows(std::span<float> out, std::span<const float> rows, std::span<const float> weights) {
  const std::size_t count = weights.size(), width = out.size();
  MOESAIC_CHECK(rows.size() == count * width);
  for (std::size_t first = 0; first < count; first += kRowsAtOnce) {
    std::array<const float*, kRowsAtOnce> some;
    std::array<float, kRowsAtOnce> by;
    for (std::size_t r = 0; r < kRowsAtOnce; ++r) {
      some[r] = rows.data() + std::min(first + r, count - 1) * width;
      by[r] = first + r < count ? weights[first + r] : 0;
    }
    add_rows(out, some, by);
  }
}

void blend(std::span<float> out, const float* own, float scale, float rest) {
  for (std::size_t i = kernels().blend(out.data(), own, scale, rest, out.size()); i < out.size(); ++i) {
    float mixed = own[i] * scale + out[i] * rest;
    mixed = mixed < 1 ? mixed : 1;
    out[i] = mixed > 0 ? mixed : 0;
  }
}

void decay(std::span<float> out, std::span<const std::int32_t> units, float a, std::span<const float> rates,
           float b) {
  MOESAIC_CHECK(units.size() == out.size() && rates.size() == out.size());
  const std::size_t whole = kernels().decay(out.data(), units.data(), a, rates.data(), b, out.size());
  for (std::size_t i = whole; i < out.size(); ++i) {
    out[i] = decay_of(static_cast<float>(units[i]) * a + rates[i] * b);
  }
}

void roots(std::span<float> out, std::span<const float> in, float scale, float shift) {
  MOESAIC_CHECK(in.size() == out.size());
  for (std::size_t i = kernels().roots(out.data(), in.data(), scale, shift, out.size()); i < out.size(); ++i)
    out[i] = root_of(in[i], scale, shift);
}

}  // namespace moesaic::signature
