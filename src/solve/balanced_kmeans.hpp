// Spherical K-means (Dhillon, Modha 2001) whose assignment step respects capacities exactly: with the
// centroids fixed, sending items to clusters of bounded size is a transportation problem (Bennett, Bradley,
// Demiriz 2000), solved by solve/transport.hpp. Neither step raises the objective, so Lloyd's iteration
// still ends.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/clock.hpp"
#include "core/result.hpp"
#include "core/thread_pool.hpp"
#include "solve/sparse_rows.hpp"

namespace moesaic::solve {

struct KmeansOptions {
  std::size_t clusters = 8;
  bool balanced = true;                    ///< false: plain K-means, every item to its nearest centroid
  std::vector<std::int64_t> capacities{};  ///< [clusters]; empty: ceil(items / clusters) each
  std::vector<float> initial{};            ///< [clusters, width] to start from; empty: k-means++
  std::size_t max_iterations = 100;        ///< 0: one assignment to the initial centroids
  double tolerance = 0;    ///< stop when an iteration lowers the objective by less, relatively
  std::size_t starts = 1;  ///< k-means++ starts; the best ends up in the result
  std::size_t seeding_items_per_cluster = 256;  ///< k-means++ draws from so many items at most, at random
  std::uint64_t seed = 0;
  const Clock* clock = nullptr;  ///< measures the stats' times, where given
};

struct KmeansResult {
  std::vector<std::uint32_t> cluster_of_item;  ///< [items]
  std::vector<float> centroids;                ///< [clusters, width], of unit length
  /// Sum over items of 1 - cosine(item, its centroid), after a last assignment to these centroids.
  double objective = 0;
  std::vector<std::int64_t> prices;  ///< [clusters] of the last assignment; all 0 when not balanced
};

struct KmeansStats {
  std::vector<double> objectives;  ///< after each assignment of the start that won
  std::uint64_t paths = 0;         ///< transport paths, all assignments
  bool converged = false;          ///< stopped because no item moved
  Nanoseconds seeding{0}, similarity{0}, assignment{0}, update{0};
};

/// `items` are rows of unit length (rows of zeros are 1 from every centroid). A cluster that gets no item
/// keeps its centroid. The objective is heuristic (a local minimum); the assignment in it is proven.
/// Cosines are quantised to 2^-40 before an assignment: same bytes at any thread count.
/// O(nonzeros K + N K) an iteration besides the assignment. Memory: 20 bytes N K besides the items.
/// REQUIRES: at least one item and cluster; sizes as stated. Errors (answer no): capacities too small.
Result<KmeansResult> kmeans(const SparseRows& items, const KmeansOptions& options, ThreadPool& pool,
                            KmeansStats* stats = nullptr);

/// new_of_old[i] = the new centroid that takes the place of old centroid i: the one-to-one match of the
/// greatest total cosine. REQUIRES: both [count, width], of unit length.
std::vector<std::uint32_t> align_centroids(std::span<const float> old_centroids,
                                           std::span<const float> new_centroids, std::size_t count);

}  // namespace moesaic::solve
