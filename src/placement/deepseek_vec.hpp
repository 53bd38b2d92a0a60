// `deepseek_vec`, SGLang's window-wise variant of EPLB (python/sglang/srt/eplb/eplb_algorithms/
// deepseek_vec.py at commit 68836b6), reproduced exactly: same maps for same loads.
//
// Every redundant slot goes to the expert whose extra copy lowers the sum, over the windows of a trace, of
// the largest load a copy carries; then slots are ordered by the load of a copy and dealt to the GPUs in a
// snake. Hierarchical: groups of experts are packed onto nodes first and each node is treated alone.
// Arithmetic is float32. Ties: the first expert, the first node; equal loads come out as libstdc++'s
// std::sort leaves them, which is what the source's unstable sort does.
#pragma once

#include <span>

#include "core/result.hpp"
#include "core/thread_pool.hpp"
#include "placement/eplb.hpp"

namespace moesaic::placement::deepseek_vec {

/// `loads` is [windows, L, E]. Uses the hierarchical policy if `hierarchical` (then groups % nodes == 0),
/// else one group and one node. Mapping::max_copies is replicas - experts + 1 as in the source.
/// Errors (bad input): sizes that do not divide, fewer replicas than experts, no window, a load that is
/// negative or not finite. O(L W E (P - E)); the same at any thread count.
Result<eplb::Mapping> rebalance(std::span<const float> loads, std::size_t windows, const eplb::Shape& shape,
                                bool hierarchical, ThreadPool* pool = nullptr);

}  // namespace moesaic::placement::deepseek_vec
