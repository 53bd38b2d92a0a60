// How expert counts become a signature: a transform of every count, on chosen layers, scaled to unit length
// (ELDR, arXiv:2607.00466, section 4; its measured order is count * idf, count, sqrt, gate, binary).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "core/ids.hpp"
#include "core/model_shape.hpp"
#include "core/result.hpp"
#include "signature/counts.hpp"
#include "solve/sparse_rows.hpp"

namespace moesaic::signature {

enum class Transform {
  kCount,            ///< as it is
  kCountIdf,         ///< times the inverse document frequency of (layer, expert)
  kSqrtCount,        ///< square root
  kBinary,           ///< 1 where above 0
  kGateProbability,  ///< as it is, but fed with summed router weights instead of counts
};
inline constexpr Transform kTransforms[] = {Transform::kCount, Transform::kCountIdf, Transform::kSqrtCount,
                                            Transform::kBinary, Transform::kGateProbability};

/// "count", "count_idf", "sqrt_count", "binary", "gate_probability".
std::string_view name(Transform transform);
Result<Transform> parse_transform(std::string_view text);

/// ln((N + 1) / (df + 1)) for each (layer row, expert), df = requests with a count above 0. [layers *
/// experts]; never negative.
std::vector<float> inverse_document_frequency(const CountsView& counts);

/// The space that signatures live in.
struct Space {
  std::vector<LayerId> layers{};      ///< chosen, ascending
  std::vector<std::uint32_t> rows{};  ///< their layer rows in the trace or engine that counts come from
  std::size_t experts = 0;            ///< a layer
  Transform transform = Transform::kCount;
  std::vector<float> idf{};  ///< [layers, experts] for kCountIdf, else empty

  std::size_t width() const { return layers.size() * experts; }
  bool operator==(const Space&) const = default;
};

/// All layers of `shape`; `idf` ([shape.layers, E]) is needed for kCountIdf alone.
Space all_layers(const ModelShape& shape, Transform transform, std::span<const float> idf = {});
/// The same space on fewer layers. REQUIRES: `positions` ascend, each < space.layers.size().
Space restricted(const Space& space, std::span<const std::uint32_t> positions);
/// Sets `rows` for counts in the layer rows of `shape`. Errors (bad input): a layer that `shape` lacks, or
/// another number of experts.
Status bind(Space& space, const ModelShape& shape);

/// The transformed counts of one request on the space's layers, not scaled. `counts` is [layer rows of the
/// source, experts], `out` [space.width()].
void transformed(const Space& space, std::span<const float> counts, std::span<float> out);

/// The signature of one request, [space.width()], of unit length or all zeros. `counts` is [layer rows of
/// the source, experts]. Deterministic: the length is summed in double, in order.
void signature(const Space& space, std::span<const float> counts, std::span<float> out);

/// Signatures of all requests. REQUIRES: counts.experts == space.experts, rows < counts.layers.
solve::SparseRows signatures(const Space& space, const CountsView& counts);

}  // namespace moesaic::signature
