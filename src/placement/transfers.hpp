// What changing a running placement moves: expert weights that a GPU does not hold yet.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "placement/algorithm.hpp"

namespace moesaic::placement {

/// The placement that `problem` starts from: problem.from, else `linear`. Errors (bad input): from has
/// another topology, other layers, experts or slots a GPU.
Result<Placement> running_placement(const Problem& problem);

struct Transfers {
  std::size_t slots = 0;       ///< slots whose expert changes to one that its GPU did not hold
  std::size_t inter_node = 0;  ///< of those: no GPU of the node held the expert
};

/// REQUIRES: same topology, layers and slots.
Transfers transfers(const Placement& from, const Placement& to);

/// `to` with the experts of each GPU reordered so that those it held in `from` keep their slots (vLLM's
/// EPLB does this to move less). Same experts on every GPU. O(slots x slots a GPU).
Placement keep_slots(const Placement& from, const Placement& to);

}  // namespace moesaic::placement
