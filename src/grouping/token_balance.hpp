// From groups of equal request counts to groups of nearly equal tokens.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace moesaic::grouping {

/// Splitting requests of different weight evenly at the least cost is NP-hard (generalised assignment), so
/// this repairs: from groups above (1 + epsilon) * share * all tokens, requests move to groups with room for
/// them, those first that lose the least score a token; then heavy requests of the fullest group are swapped
/// for lighter ones elsewhere, each time the best of the 64 x 64 cheapest pairs of two groups. Stops when no
/// group is above, or nothing is left to do. `group_of` is changed in place; returns true when every group
/// is within its bound. O(N K log(N K)) and O(N K + 4096 K) a swap. Deterministic: ties by request, then
/// group. REQUIRES: scores [N, K], tokens [N] >= 0, shares [K] > 0 with sum 1.
bool balance_tokens(std::span<const double> scores, std::span<const std::int64_t> tokens,
                    std::span<const double> shares, double epsilon, std::vector<std::uint32_t>& group_of);

/// max over groups of tokens / (share * all tokens); 1 when there are no tokens.
double load_over_share(std::span<const std::int64_t> tokens, std::span<const std::uint32_t> group_of,
                       std::span<const double> shares);

}  // namespace moesaic::grouping
