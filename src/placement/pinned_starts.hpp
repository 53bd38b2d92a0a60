// Starts of a search that obey pins (pins.hpp); the searches then leave pinned items and copies alone.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "placement/partition_search.hpp"
#include "placement/replicas.hpp"

namespace moesaic::placement {

/// Swaps items into the parts they are fixed to (`fixed[item]` or kFree), each for the free item there of the
/// nearest load. Sizes of parts stay. REQUIRES: no part has more fixed items than items. O(items^2).
void obey(std::span<const std::uint16_t> fixed, std::span<const std::int64_t> loads,
          std::vector<std::uint16_t>& part_of_item);

/// Gives every pinned copy of `problem` (ReplicaProblem::pinned) its place: into room, else for another copy,
/// which goes if its expert has more, and otherwise moves. REQUIRES: pins that can be met (checked_pins),
/// every expert held, capacities kept; all that still holds afterwards. O(pins x slots).
void obey(const ReplicaProblem& problem, Holders& holders);

}  // namespace moesaic::placement
