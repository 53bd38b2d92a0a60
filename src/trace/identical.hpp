// Requests that are the same request recorded again: planned on and scored on, they flatter a plan.
#pragma once

#include <cstdint>
#include <vector>

#include "core/result.hpp"
#include "core/thread_pool.hpp"
#include "trace/trace.hpp"

namespace moesaic::trace {

/// For every request the row of the first one (itself, mostly) with the same prefill and decode lengths and
/// the same stored experts in every token and layer; told by a 128-bit hash. Reads the whole store once,
/// layers in parallel; O(requests) memory a layer. REQUIRES: kTokens. Errors: a damaged chunk.
Result<std::vector<std::uint32_t>> first_identical(const Trace& trace, ThreadPool& pool);

}  // namespace moesaic::trace
