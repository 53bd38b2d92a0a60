// The algorithms, one function and one .cpp file each. The registry (algorithm.cpp) lists them.
#pragma once

#include "placement/algorithm.hpp"

namespace moesaic::placement {

const Algorithm& linear();
const Algorithm& round_robin();
const Algorithm& random_placement();
const Algorithm& eplb_algorithm();
const Algorithm& deepseek_vec_algorithm();
const Algorithm& trtllm_algorithm();
const Algorithm& trtllm_cooccurrence();
const Algorithm& vllm_eplb();
const Algorithm& swift();
const Algorithm& greedy_coactivation();
const Algorithm& metis();
const Algorithm& tacg();
const Algorithm& patterns();
const Algorithm& moesaic();

}  // namespace moesaic::placement
