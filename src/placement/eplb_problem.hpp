// A planning problem in the words of EPLB and its relatives, and their answers as placements.
#pragma once

#include "placement/algorithm.hpp"
#include "placement/eplb.hpp"

namespace moesaic::placement {

eplb::Shape eplb_shape(const Problem& problem);

/// The placement of a mapping's slots, with a note where --expert-groups was given and could not be used.
/// REQUIRES: a mapping of eplb_shape(problem).
Result<Solution> solution_of(const Problem& problem, const eplb::Mapping& mapping);

}  // namespace moesaic::placement
