// What of a model matters to routing: which layers are MoE, how many experts, how many a token.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "core/ids.hpp"
#include "core/result.hpp"

namespace moesaic {

struct ModelShape {
  std::string model;             ///< a name for people and presets; may be empty
  std::size_t model_layers = 0;  ///< all layers of the model, dense ones too
  std::vector<LayerId> layers;   ///< the MoE layers, ascending; "layer row" r means layers[r]
  std::size_t experts = 0;       ///< E, logical experts a layer
  std::size_t top_k = 0;         ///< k, experts a token

  bool operator==(const ModelShape&) const = default;
};

/// Checks the bounds of core/limits.hpp, that layers ascend, lie in [0, model_layers), and k <= E.
Status validate(const ModelShape& shape);

}  // namespace moesaic
