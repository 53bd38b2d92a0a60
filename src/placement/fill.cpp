#include "placement/fill.hpp"

#include "core/check.hpp"

namespace moesaic::placement {

Result<Solution> fill(const Problem& problem,
                      const std::function<Status(std::size_t, std::span<ExpertId>)>& fill_layer) {
  const ModelShape& shape = problem.demand.shape();
  const std::size_t per_layer = problem.topology.gpus() * problem.slots_per_gpu;
  MOESAIC_CHECK(per_layer >= shape.experts);
  std::vector<ExpertId> slots(shape.layers.size() * per_layer, kMissingExpert);
  const auto one = [&](std::size_t row) {
    return fill_layer(row, std::span(slots).subspan(row * per_layer, per_layer));
  };
  if (problem.pool != nullptr) {
    MOESAIC_TRY(problem.pool->try_parallel_for(shape.layers.size(), one));
  } else {
    for (std::size_t row = 0; row < shape.layers.size(); ++row) MOESAIC_TRY(one(row));
  }
  MOESAIC_ASSIGN(Placement placement, Placement::make(problem.topology, shape.layers, shape.experts,
                                                      problem.slots_per_gpu, std::move(slots)));
  return Solution{.placement = std::move(placement), .notes = {}};
}

}  // namespace moesaic::placement
