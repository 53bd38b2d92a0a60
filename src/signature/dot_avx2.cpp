#include "signature/row_kernels.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace moesaic::signature {

#if defined(__x86_64__)
namespace {

constexpr std::size_t kWide = 8;

__attribute__((target("avx2"))) std::size_t wide_dot(const float* a, const float* b, std::size_t size,
                                                     std::array<float, kDotSums>& sums) {
  __m256 s0 = _mm256_loadu_ps(sums.data()), s1 = _mm256_loadu_ps(sums.data() + 8),
         s2 = _mm256_loadu_ps(sums.data() + 16), s3 = _mm256_loadu_ps(sums.data() + 24);
  const std::size_t whole = size / kDotSums * kDotSums;
  for (std::size_t i = 0; i < whole; i += kDotSums) {
    s0 = _mm256_add_ps(s0, _mm256_mul_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i)));
    s1 = _mm256_add_ps(s1, _mm256_mul_ps(_mm256_loadu_ps(a + i + 8), _mm256_loadu_ps(b + i + 8)));
    s2 = _mm256_add_ps(s2, _mm256_mul_ps(_mm256_loadu_ps(a + i + 16), _mm256_loadu_ps(b + i + 16)));
    s3 = _mm256_add_ps(s3, _mm256_mul_ps(_mm256_loadu_ps(a + i + 24), _mm256_loadu_ps(b + i + 24)));
  }
  _mm256_storeu_ps(sums.data(), s0);
  _mm256_storeu_ps(sums.data() + 8, s1);
  _mm256_storeu_ps(sums.data() + 16, s2);
  _mm256_storeu_ps(sums.data() + 24, s3);
  return whole;
}

__attribute__((target("avx2"))) std::size_t wide_add_rows(float* out,
                                                          const std::array<const float*, kRowsAtOnce>& rows,
                                                          const std::array<float, kRowsAtOnce>& weights,
                                                          std::size_t size) {
  static_assert(kRowsAtOnce == 4);
  const float *r0 = rows[0], *r1 = rows[1], *r2 = rows[2], *r3 = rows[3];
  const __m256 w0 = _mm256_set1_ps(weights[0]), w1 = _mm256_set1_ps(weights[1]),
               w2 = _mm256_set1_ps(weights[2]), w3 = _mm256_set1_ps(weights[3]);
  const std::size_t whole = size / kWide * kWide;
  for (std::size_t i = 0; i < whole; i += kWide) {
    __m256 sum = _mm256_loadu_ps(out + i);
    sum = _mm256_add_ps(sum, _mm256_mul_ps(_mm256_loadu_ps(r0 + i), w0));
    sum = _mm256_add_ps(sum, _mm256_mul_ps(_mm256_loadu_ps(r1 + i), w1));
    sum = _mm256_add_ps(sum, _mm256_mul_ps(_mm256_loadu_ps(r2 + i), w2));
    sum = _mm256_add_ps(sum, _mm256_mul_ps(_mm256_loadu_ps(r3 + i), w3));
    _mm256_storeu_ps(out + i, sum);
  }
  return whole;
}

__attribute__((target("avx2"))) std::size_t wide_blend(float* out, const float* own, float scale, float rest,
                                                       std::size_t size) {
  const __m256 s = _mm256_set1_ps(scale), r = _mm256_set1_ps(rest), one = _mm256_set1_ps(1),
               zero = _mm256_setzero_ps();
  const std::size_t whole = size / kWide * kWide;
  for (std::size_t i = 0; i < whole; i += kWide) {
    const __m256 mixed =
        _mm256_add_ps(_mm256_mul_ps(_mm256_loadu_ps(own + i), s), _mm256_mul_ps(_mm256_loadu_ps(out + i), r));
    // As `mixed < 1 ? mixed : 1` and `mixed > 0 ? mixed : 0`: NaN becomes 1.
    _mm256_storeu_ps(out + i, _mm256_max_ps(_mm256_min_ps(mixed, one), zero));
  }
  return whole;
}

__attribute__((target("avx2"))) std::size_t wide_decay(float* out, const std::int32_t* units, float a,
                                                       const float* rates, float b, std::size_t size) {
  using S = DecaySeries;
  const __m256 by_a = _mm256_set1_ps(a), by_b = _mm256_set1_ps(b), most = _mm256_set1_ps(S::kLargest),
               log2e = _mm256_set1_ps(S::kMinusLog2E), round = _mm256_set1_ps(S::kRound);
  const std::size_t whole = size / kWide * kWide;
  for (std::size_t i = 0; i < whole; i += kWide) {
    const __m256i whole_units = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(units + i));
    const __m256 x = _mm256_add_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(whole_units), by_a),
                                   _mm256_mul_ps(_mm256_loadu_ps(rates + i), by_b));
    const __m256 t = _mm256_mul_ps(_mm256_min_ps(x, most), log2e);
    const __m256 rounded = _mm256_add_ps(t, round);
    const __m256 f = _mm256_sub_ps(t, _mm256_sub_ps(rounded, round));
    __m256 power = _mm256_set1_ps(S::kTerms[0]);
    for (std::size_t k = 1; k < S::kTerms.size(); ++k)
      power = _mm256_add_ps(_mm256_mul_ps(power, f), _mm256_set1_ps(S::kTerms[k]));
    power = _mm256_add_ps(_mm256_mul_ps(power, f), _mm256_set1_ps(1));
    const __m256i n = _mm256_sub_epi32(_mm256_castps_si256(rounded), _mm256_castps_si256(round));
    const __m256i scale =
        _mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(S::kExponentBias)), S::kMantissaBits);
    _mm256_storeu_ps(out + i, _mm256_mul_ps(power, _mm256_castsi256_ps(scale)));
  }
  return whole;
}

__attribute__((target("avx2"))) std::size_t wide_roots(float* out, const float* in, float scale, float shift,
                                                       std::size_t size) {
  const __m256 by = _mm256_set1_ps(scale), more = _mm256_set1_ps(shift), zero = _mm256_setzero_ps();
  const std::size_t whole = size / kWide * kWide;
  for (std::size_t i = 0; i < whole; i += kWide) {
    const __m256 x = _mm256_add_ps(_mm256_mul_ps(_mm256_loadu_ps(in + i), by), more);
    _mm256_storeu_ps(out + i, _mm256_sqrt_ps(_mm256_max_ps(x, zero)));  // of NaN and 0 it takes the latter
  }
  return whole;
}

}  // namespace

const RowKernels* avx2_kernels() {
  static constexpr RowKernels kKernels{wide_dot, wide_add_rows, wide_blend, wide_decay, wide_roots};
  return __builtin_cpu_supports("avx2") ? &kKernels : nullptr;
}
#else
const RowKernels* avx2_kernels() { return nullptr; }
#endif

}  // namespace moesaic::signature
