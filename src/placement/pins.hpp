// Experts that must keep a copy on a given node or GPU (`plan --pin`): what pins ask, whether they can be
// met, and whether a placement meets them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/ids.hpp"
#include "core/model_shape.hpp"
#include "core/placement.hpp"
#include "core/result.hpp"
#include "core/topology.hpp"

namespace moesaic::placement {

/// A copy of `expert` of layer row `row` lies on `node`, on any GPU of it or on its `gpu`-th.
struct Pin {
  static constexpr std::uint16_t kAnyGpu = 0xFFFF;
  std::size_t row = 0;
  ExpertId expert{};
  std::uint16_t node = 0, gpu = kAnyGpu;

  auto operator<=>(const Pin&) const = default;
};

/// Of pins on one expert and node the one that names a GPU, each once; ascending.
/// Errors (bad input) name layer and expert: a row, expert, node or GPU that is not there; one expert on two
/// GPUs of a node; more pinned experts on a GPU or node than it has slots; more pinned copies than the slots
/// leave beside one of every other expert. What passes can be met. O(pins log pins).
Result<std::vector<Pin>> checked_pins(std::vector<Pin> pins, const ModelShape& shape,
                                      const Topology& topology, std::size_t slots_per_gpu);

/// Those of `pins` that the placement does not meet: what a verifier asks. O(pins x slots).
std::vector<Pin> unmet_pins(std::span<const Pin> pins, const Placement& placement);

/// "layer 3 expert 7 on node 0" or "... on GPU 1 of node 0".
std::string to_string(const Pin& pin, const Placement& placement);

}  // namespace moesaic::placement
