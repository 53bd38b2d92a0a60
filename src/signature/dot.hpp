// Arithmetic on long float32 rows, for the decision path of policies. Written for vector registers: at -O2
// GCC 12 leaves such loops scalar. Eight elements at once where the processor has AVX2, else four; the bits
// are the same on every machine.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "signature/row_kernels.hpp"

namespace moesaic::signature {

/// Sum of a[i] * b[i] in float32: 32 running sums by i mod 32, added in a fixed tree. The vector form and
/// dot_scalar() give the same bits. REQUIRES: equal sizes. About 0.15 ns an element.
float dot(std::span<const float> a, std::span<const float> b);

/// The same sum written plainly.
float dot_scalar(std::span<const float> a, std::span<const float> b);

/// out[i] += sum over rows of weights[r] * rows[r][i], rows added in order. Unused rows: any row with weight
/// 0. REQUIRES: every row has out.size() elements.
void add_rows(std::span<float> out, const std::array<const float*, kRowsAtOnce>& rows,
              const std::array<float, kRowsAtOnce>& weights);

/// The same of any number of rows: `rows` [weights.size(), out.size()], in order.
void add_rows(std::span<float> out, std::span<const float> rows, std::span<const float> weights);

/// out[i] = own[i] * scale + out[i] * rest, taken to [0, 1]. REQUIRES: `own` has out.size() elements.
void blend(std::span<float> out, const float* own, float scale, float rest);

/// out[i] = exp(-(units[i] * a + rates[i] * b)) by DecaySeries, relative error below 3e-7 + 1.2e-7 x the
/// exponent. `out` may be `rates`. REQUIRES: equal sizes; exponents >= 0.
void decay(std::span<float> out, std::span<const std::int32_t> units, float a, std::span<const float> rates,
           float b);

/// out[i] = sqrt(max(0, in[i] * scale + shift)), NaN as 0. `out` may be `in`. REQUIRES: equal sizes.
void roots(std::span<float> out, std::span<const float> in, float scale, float shift);

}  // namespace moesaic::signature
