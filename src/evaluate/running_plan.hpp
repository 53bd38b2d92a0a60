// Does an engine run a plan? Its own map of slots, from a dump, beside the placement.
#pragma once

#include <cstddef>
#include <optional>

#include "core/engine_map.hpp"
#include "core/ids.hpp"
#include "core/model_shape.hpp"
#include "core/placement.hpp"
#include "core/result.hpp"

namespace moesaic::evaluate {

struct RunningPlan {
  std::size_t layers = 0;          ///< MoE layers compared
  std::size_t equal = 0;           ///< of them: the same slot by slot
  std::size_t same_gpus = 0;       ///< of the others: every GPU holds the same experts in another order
  std::size_t engine_default = 0;  ///< layers where slot p holds expert p mod E, as engines start
  std::size_t slots_per_layer = 0, engine_slots_per_layer = 0;  ///< where they differ, no layer is the same
  /// Of all layers: hold an expert that their GPU has no (further) slot for in the plan.
  std::size_t misplaced_slots = 0;
  std::optional<LayerId> first_different{};  ///< the first layer that is neither equal nor the same by GPU

  /// Every GPU holds what the plan gives it: traffic and balance are the plan's.
  bool runs() const { return equal + same_gpus == layers; }
};

/// `shape` is the plan's. Errors (bad input): a map of another model, by its layers or experts; the message
/// says which numbers the plan's model has. O(slots log slots) a layer.
Result<RunningPlan> compare_with_engine(const ModelShape& shape, const Placement& placement,
                                        const EngineMap& map);

}  // namespace moesaic::evaluate
