// U[d, e] of arXiv:2604.23150, section 4.2: how often the tokens that live on GPU (or node) d choose
// expert e.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/topology.hpp"
#include "traffic/tokens.hpp"

namespace moesaic::placement {

/// Rows by the token's own GPU: [GPUs, E]. With tensor-parallel attention a token's GPU follows from its
/// position. Missing choices count nowhere. O(rows).
std::vector<std::int64_t> rows_by_gpu(const traffic::LayerTokens& tokens, const Topology& topology,
                                      Attention attention, std::size_t experts);

/// Sums of the GPUs of each node: [N, E].
std::vector<std::int64_t> rows_by_node(std::span<const std::int64_t> by_gpu, const Topology& topology,
                                       std::size_t experts);

}  // namespace moesaic::placement
