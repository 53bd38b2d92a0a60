// k-means++ (Arthur, Vassilvitskii 2007) on the sphere.
#pragma once

#include <cstdint>
#include <vector>

#include "core/random.hpp"
#include "core/thread_pool.hpp"
#include "solve/sparse_rows.hpp"

namespace moesaic::solve {

/// `clusters` rows, each drawn with probability proportional to 1 - cosine to the nearest drawn so far (half
/// its squared distance), the first uniformly. Draws from `at_most` rows chosen at random when there are
/// more. Rows repeat only when fewer differ. O(nonzeros * clusters). REQUIRES: rows of unit length.
std::vector<std::uint32_t> kmeans_plus_plus(const SparseRows& rows, std::size_t clusters, std::size_t at_most,
                                            Pcg32& random, ThreadPool& pool);

}  // namespace moesaic::solve
