// Ranks as threads of one process: what a job over several ranks computes, without MPI. For tests.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "comm/comm.hpp"
#include "core/result.hpp"

namespace moesaic::comm {

/// Runs body(comm) on `ranks` threads, each with its own rank, and waits. Returns every rank's status, in
/// rank order. `hosts` (one a rank; empty: all "localhost") are what Comm::host says.
/// A rank that returns early breaks the job, as a rank that dies does: the others' next collective fails.
std::vector<Status> run_thread_ranks(std::size_t ranks, const std::function<Status(Comm&)>& body,
                                     const std::vector<std::string>& hosts = {});

}  // namespace moesaic::comm
