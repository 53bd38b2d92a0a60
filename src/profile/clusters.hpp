// Kinds of requests found without labels: spherical K-means on what experts requests use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "comm/comm.hpp"
#include "core/result.hpp"
#include "core/thread_pool.hpp"
#include "profile/segments.hpp"
#include "trace/trace.hpp"

namespace moesaic::profile {

struct Clusters {
  std::size_t count = 0;  ///< 0: too few requests
  std::vector<std::uint32_t> cluster_of_sampled;
  std::vector<std::size_t> sizes;  ///< sampled requests in each, falling
  std::vector<double> by_domain;   ///< [count, domains] sampled requests of each
  double within = 0;               ///< mean cosine of a request and its centroid
  /// Normalised mutual information with the labels (Strehl and Ghosh 2002; geometric mean); NaN: no labels.
  double agreement = 0;
  std::vector<std::uint32_t> group_of_sampled;  ///< balanced, one of `groups` nodes each
};

/// From at most 8 evenly spaced layers of the sampled requests; rows are square-rooted (Hellinger), so that
/// a hot expert does not hide the others, and of unit length. Deterministic for a seed.
Result<Clusters> find_clusters(const trace::Trace& trace, const Walk& walk, std::size_t clusters,
                               std::size_t groups, ThreadPool& pool, comm::Comm& comm);

}  // namespace moesaic::profile
