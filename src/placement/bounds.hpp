// What no placement can beat, where that can be computed: the copies of rows (per-expert mode, and dedup
// with one expert a token, where both count the same).
#pragma once

#include <cstddef>
#include <cstdint>

#include "placement/patterns_table.hpp"

namespace moesaic::placement {

/// Least node copies of any placement with `node_slots` slots a node, load limits and GPUs aside. `nodes`
/// are patterns whose items are experts x `classes` + class (classes = 1 without replicas) at node level;
/// every row counts by itself.
/// Without replicas (parts x node_slots = experts) exact: rows of an expert that stay when it sits on a
/// node are a cost matrix, and the best assignment under the slots is a transportation problem
/// (solve::transport). With replicas a bound under every dispatch rule: a row stays at home only if its
/// node holds its expert, and a node can at best hold the experts that its own rows want most.
/// O(rows + experts x parts x log experts). REQUIRES: parts x node_slots >= experts.
std::int64_t row_copies_bound(const PatternTable& nodes, std::size_t classes, std::size_t node_slots);

}  // namespace moesaic::placement
