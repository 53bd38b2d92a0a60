// The algorithms, one function and one .cpp file each. The registry (algorithm.cpp) lists them.
#pragma once

#include "placement/algorithm.hpp"

namespace moesaic::placement {

const Algorithm& linear();

}  // namespace moesaic::placement
