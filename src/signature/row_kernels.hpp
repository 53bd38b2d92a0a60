// The loops behind signature/dot.hpp, in the forms that a machine may have. All forms give the same bits: the
// same operations in the same order, no fused multiply-add.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace moesaic::signature {

inline constexpr std::size_t kDotSums = 32;
inline constexpr std::size_t kRowsAtOnce = 4;

/// Each takes `size` elements of every pointer.
struct RowKernels {
  /// sums[i mod 32] += a[i] * b[i] over whole blocks of 32; returns how many elements these are.
  std::size_t (*dot)(const float* a, const float* b, std::size_t size, std::array<float, kDotSums>& sums);
  /// out[i] += rows[0][i] * weights[0], then rows[1] ...; over whole vectors, whose elements are returned.
  std::size_t (*add_rows)(float* out, const std::array<const float*, kRowsAtOnce>& rows,
                          const std::array<float, kRowsAtOnce>& weights, std::size_t size);
  /// out[i] = own[i] * scale + out[i] * rest, taken to [0, 1]; likewise.
  std::size_t (*blend)(float* out, const float* own, float scale, float rest, std::size_t size);
  /// out[i] = exp(-(units[i] * a + rates[i] * b)), by DecaySeries; likewise.
  std::size_t (*decay)(float* out, const std::int32_t* units, float a, const float* rates, float b,
                       std::size_t size);
  /// out[i] = sqrt(max(0, in[i] * scale + shift)), NaN as 0; likewise (one at a time without AVX2).
  /// `out` may be `in`.
  std::size_t (*roots)(float* out, const float* in, float scale, float shift, std::size_t size);
};

/// Four elements at once, on any machine.
const RowKernels& portable_kernels();
/// Eight at once; null where the processor has no AVX2.
const RowKernels* avx2_kernels();

/// exp(-x) = 2^n 2^f, n whole, f in [-1/2, 1/2], 2^f by its Taylor series to f^6: within 3e-7 of the value,
/// 1 at 0, 0 < exp(-x) < 1e-37 from 86 on.
struct DecaySeries {
  static constexpr float kLargest = 86;
  static constexpr float kMinusLog2E = -1.44269504f;
  static constexpr float kRound = 12'582'912;  ///< 1.5 x 2^23: adding it rounds to a whole number
  static constexpr std::array<float, 6> kTerms = {1.54035304e-4f, 1.33335581e-3f, 9.61812911e-3f,
                                                  5.55041087e-2f, 2.40226507e-1f, 6.93147181e-1f};
  static constexpr int kExponentBias = 127, kMantissaBits = 23;
};

}  // namespace moesaic::signature
