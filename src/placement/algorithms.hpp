// The algorithms, one function and one .cpp file each. The registry (algorithm.cpp) lists them.
#pragma once

#include "placement/algorithm.hpp"

namespace moesaic::placement {

const Algorithm& linear();
const Algorithm& round_robin();
const Algorithm& random_placement();
const Algorithm& eplb_algorithm();
const Algorithm& patterns();
const Algorithm& moesaic();

}  // namespace moesaic::placement
