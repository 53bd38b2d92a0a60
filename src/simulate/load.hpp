// Which rate gives the load that a sweep asks for.
#pragma once

#include "core/result.hpp"
#include "simulate/cluster.hpp"
#include "simulate/recording.hpp"

namespace moesaic::simulate {

/// Requests a second at which a decoder's steps run `running` requests on average under `jsq`, to within
/// 0.5 %. Found by simulation: a rate from mean lengths and mean step times alone is too low, because short
/// batches step faster and long requests, in flight for longer, are drawn less often. All workers stay up.
/// The seeds of these runs are kept for them alone. O(12 runs). Errors: those of run(); bad input when no
/// rate reaches it: the prefill pool is too slow, the recording too small, or batches are bounded below it.
/// REQUIRES: running > 0.
Result<double> rate_that_runs(const Cluster& cluster, const Recording& recording, double running);

}  // namespace moesaic::simulate
