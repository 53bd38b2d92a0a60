#include "core/model_shape.hpp"

#include <fmt/format.h>

#include "core/limits.hpp"

namespace moesaic {

Status validate(const ModelShape& shape) {
  if (shape.experts == 0 || shape.experts > limits::kMaxExperts) {
    return bad_input(
        fmt::format("model shape: {} experts, expected 1 to {}", shape.experts, limits::kMaxExperts));
  }
  if (shape.top_k == 0 || shape.top_k > limits::kMaxTopK || shape.top_k > shape.experts) {
    return bad_input(fmt::format("model shape: {} experts a token, expected 1 to {} and at most {} experts",
                                 shape.top_k, limits::kMaxTopK, shape.experts));
  }
  if (shape.layers.empty() || shape.model_layers > limits::kMaxLayers) {
    return bad_input(fmt::format("model shape: {} MoE layers of {}, expected at least one and at most {}",
                                 shape.layers.size(), shape.model_layers, limits::kMaxLayers));
  }
  for (std::size_t row = 0; row < shape.layers.size(); ++row) {
    const bool ascends = row == 0 || shape.layers[row - 1] < shape.layers[row];
    if (!ascends || index(shape.layers[row]) >= shape.model_layers) {
      return bad_input(
          fmt::format("model shape: MoE layer {} at row {}, expected ascending ids below {} model layers",
                      index(shape.layers[row]), row, shape.model_layers));
    }
  }
  return {};
}

}  // namespace moesaic
