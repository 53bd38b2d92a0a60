// Arithmetic on long float32 rows, for the decision path of policies. Written for vector registers: at -O2
// GCC 12 leaves such loops scalar.
#pragma once

#include <array>
#include <cstddef>
#include <span>

namespace moesaic::signature {

/// Sum of a[i] * b[i] in float32: 32 running sums by i mod 32, added in a fixed tree. The vector form and
/// dot_scalar() give the same bits on every machine. REQUIRES: equal sizes. About 0.3 ns an element.
float dot(std::span<const float> a, std::span<const float> b);

/// The same sum written plainly.
float dot_scalar(std::span<const float> a, std::span<const float> b);

/// Rows that add_rows() adds at once.
inline constexpr std::size_t kRowsAtOnce = 4;

/// out[i] += sum over rows of weights[r] * rows[r][i], rows added in order. Unused rows: any row with weight
/// 0. REQUIRES: every row has out.size() elements. The same bits on every machine.
void add_rows(std::span<float> out, const std::array<const float*, kRowsAtOnce>& rows,
              const std::array<float, kRowsAtOnce>& weights);

/// out[i] = own[i] * scale + out[i] * rest, taken to [0, 1]. REQUIRES: `own` has out.size() elements. The
/// same bits on every machine.
void blend(std::span<float> out, const float* own, float scale, float rest);

}  // namespace moesaic::signature
