#include "signature/transform.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/check.hpp"

namespace moesaic::signature {

std::string_view name(Transform transform) {
  switch (transform) {
    case Transform::kCount:
      return "count";
    case Transform::kCountIdf:
      return "count_idf";
    case Transform::kSqrtCount:
      return "sqrt_count";
    case Transform::kBinary:
      return "binary";
    case Transform::kGateProbability:
      return "gate_probability";
  }
  return "";
}

Result<Transform> parse_transform(std::string_view text) {
  for (const Transform transform : kTransforms) {
    if (name(transform) == text) return transform;
  }
  return bad_input(
      fmt::format("'{}' is no signature transform; expected count, count_idf, sqrt_count, binary "
                  "or gate_probability.",
                  text));
}

std::vector<float> inverse_document_frequency(const CountsView& counts) {
  std::vector<std::uint32_t> requests_with(counts.width());
  for (std::size_t r = 0; r < counts.requests(); ++r) {
    const auto row = counts.request(r);
    for (std::size_t i = 0; i < row.size(); ++i) requests_with[i] += row[i] > 0 ? 1 : 0;
  }
  std::vector<float> idf(counts.width());
  const double all = static_cast<double>(counts.requests()) + 1;
  for (std::size_t i = 0; i < idf.size(); ++i) {
    idf[i] = static_cast<float>(std::log(all / (static_cast<double>(requests_with[i]) + 1)));
  }
  return idf;
}

Space all_layers(const ModelShape& shape, Transform transform, std::span<const float> idf) {
  Space space{.layers = shape.layers, .experts = shape.experts, .transform = transform};
  for (std::uint32_t row = 0; row < shape.layers.size(); ++row) space.rows.push_back(row);
  if (transform == Transform::kCountIdf) {
    MOESAIC_CHECK(idf.size() == space.width());
    space.idf.assign(idf.begin(), idf.end());
  }
  return space;
}

Space restricted(const Space& space, std::span<const std::uint32_t> positions) {
  Space fewer{.experts = space.experts, .transform = space.transform};
  for (const std::uint32_t p : positions) {
    MOESAIC_CHECK(p < space.layers.size() && (fewer.layers.empty() || fewer.layers.back() < space.layers[p]));
    fewer.layers.push_back(space.layers[p]);
    fewer.rows.push_back(space.rows[p]);
    if (space.idf.empty()) continue;
    const auto row = std::span(space.idf).subspan(p * space.experts, space.experts);
    fewer.idf.insert(fewer.idf.end(), row.begin(), row.end());
  }
  return fewer;
}

Status bind(Space& space, const ModelShape& shape) {
  if (space.experts != shape.experts) {
    return bad_input(
        fmt::format("The signatures count {} experts a layer, but the model has {}; use an "
                    "assigner fitted for this model.",
                    space.experts, shape.experts));
  }
  std::vector<std::uint32_t> rows;
  for (const LayerId layer : space.layers) {
    const auto at = std::ranges::lower_bound(shape.layers, layer);
    if (at == shape.layers.end() || *at != layer) {
      return bad_input(
          fmt::format("The signatures use layer {}, which is no MoE layer of the model; use an "
                      "assigner fitted for this model.",
                      index(layer)));
    }
    rows.push_back(static_cast<std::uint32_t>(at - shape.layers.begin()));
  }
  space.rows = std::move(rows);
  return {};
}

void transformed(const Space& space, std::span<const float> counts, std::span<float> out) {
  MOESAIC_CHECK(out.size() == space.width() && space.rows.size() == space.layers.size());
  for (std::size_t layer = 0; layer < space.rows.size(); ++layer) {
    const auto from = counts.subspan(space.rows[layer] * space.experts, space.experts);
    const auto to = out.subspan(layer * space.experts, space.experts);
    switch (space.transform) {
      case Transform::kCount:
      case Transform::kGateProbability:
        std::ranges::copy(from, to.begin());
        break;
      case Transform::kCountIdf:
        for (std::size_t e = 0; e < from.size(); ++e) to[e] = from[e] * space.idf[layer * space.experts + e];
        break;
      case Transform::kSqrtCount:
        for (std::size_t e = 0; e < from.size(); ++e) to[e] = std::sqrt(from[e]);
        break;
      case Transform::kBinary:
        for (std::size_t e = 0; e < from.size(); ++e) to[e] = from[e] > 0 ? 1.0F : 0.0F;
        break;
    }
  }
}

void signature(const Space& space, std::span<const float> counts, std::span<float> out) {
  transformed(space, counts, out);
  solve::normalise(out);
}

solve::SparseRows signatures(const Space& space, const CountsView& counts) {
  MOESAIC_CHECK(counts.experts == space.experts);
  solve::SparseRows rows{.width = space.width()};
  std::vector<float> one(space.width());
  for (std::size_t r = 0; r < counts.requests(); ++r) {
    signature(space, counts.request(r), one);
    rows.append(one);
  }
  return rows;
}

}  // namespace moesaic::signature
