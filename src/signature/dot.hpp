// Dot products of long float32 rows, for the decision path of policies.
#pragma once

#include <span>

namespace moesaic::signature {

/// Sum of a[i] * b[i] in float32: 32 running sums by i mod 32, added in a fixed tree. The vector form and
/// dot_scalar() give the same bits on every machine. REQUIRES: equal sizes. About 0.3 ns an element.
float dot(std::span<const float> a, std::span<const float> b);

/// The same sum written plainly.
float dot_scalar(std::span<const float> a, std::span<const float> b);

}  // namespace moesaic::signature
