// The placements that every score stands beside: linear, random (mean of five seeds), round-robin, eplb.
#pragma once

#include <string>
#include <vector>

#include "core/model_shape.hpp"
#include "core/placement.hpp"
#include "core/result.hpp"
#include "core/thread_pool.hpp"
#include "core/topology.hpp"

namespace moesaic::planning {

/// One baseline; several placements where the figure is a mean over seeds.
struct Baseline {
  std::string name;
  std::vector<Placement> placements;
};

/// Baselines with as many slots a GPU as the plan has. EPLB plans on `loads` [L, E]: the planning loads,
/// never those that are scored. O(algorithms x L x P log P).
Result<std::vector<Baseline>> baselines(const ModelShape& shape, const Topology& topology,
                                        std::size_t slots_per_gpu, const std::vector<double>& loads,
                                        std::size_t expert_groups, ThreadPool& pool);

}  // namespace moesaic::planning
