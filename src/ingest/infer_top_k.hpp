// How many experts a token, when a payload only says how many ids a token has over all layers.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "core/ids.hpp"
#include "core/result.hpp"

namespace moesaic::ingest {

/// Finds k such that rows of `width` ids are width / k planes of k different ids each, or of k zeros (a
/// dense layer). A larger k is refuted by a plane that holds an id twice, or by a position that is always
/// zero beside one that is not; so the answer is the largest k that nothing refutes. It is given only when
/// chance would have refuted it were it wrong: with E experts a pair of ids from two layers is equal about
/// once in E, and 20 such pairs must have been seen. Else bad input that names `where` and --model.
/// Each of `blocks` holds whole rows. O(ids x divisors of width).
Result<std::size_t> infer_top_k(const std::vector<std::span<const ExpertId>>& blocks, std::size_t width,
                                const std::string& where);

}  // namespace moesaic::ingest
