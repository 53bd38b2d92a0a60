// What an engine says it runs: the expert in every physical slot, as its dump holds it.
#pragma once

#include <cstddef>
#include <vector>

#include "core/ids.hpp"

namespace moesaic {

struct EngineMap {
  std::size_t layers = 0;         ///< rows: all layers of the model, or its MoE layers alone
  std::size_t slots = 0;          ///< physical slots a layer
  std::vector<ExpertId> logical;  ///< [layers, slots]
  bool operator==(const EngineMap&) const = default;
};

}  // namespace moesaic
