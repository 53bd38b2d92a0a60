#include "placement/fill.hpp"

#include "core/check.hpp"

namespace moesaic::placement {

Status each_layer(const Problem& problem, const std::function<Status(std::size_t)>& body) {
  const std::size_t layers = problem.demand.shape().layers.size();
  if (problem.share != nullptr) return problem.share->run(layers, problem.pool, body);
  if (problem.pool != nullptr) return problem.pool->try_parallel_for(layers, body);
  Status status;
  for (std::size_t row = 0; status && row < layers; ++row) status = body(row);
  return status;
}

Result<Solution> fill(const Problem& problem,
                      const std::function<Status(std::size_t, std::span<ExpertId>)>& fill_layer) {
  const ModelShape& shape = problem.demand.shape();
  const std::size_t per_layer = problem.topology.gpus() * problem.slots_per_gpu;
  MOESAIC_CHECK(per_layer >= shape.experts);
  std::vector<ExpertId> slots(shape.layers.size() * per_layer, kMissingExpert);
  Status status = each_layer(problem, [&](std::size_t row) {
    return fill_layer(row, std::span(slots).subspan(row * per_layer, per_layer));
  });
  if (problem.share != nullptr) {
    std::vector<std::int64_t> ids(slots.size());
    for (std::size_t slot = 0; slot < slots.size(); ++slot) {
      if (problem.share->mine(slot / per_layer)) ids[slot] = static_cast<std::int64_t>(index(slots[slot]));
    }
    status = problem.share->sum(ids, status);
    for (std::size_t slot = 0; slot < slots.size(); ++slot) {
      slots[slot] = ExpertId(static_cast<std::uint16_t>(ids[slot]));
    }
  }
  MOESAIC_TRY(status);
  MOESAIC_ASSIGN(Placement placement, Placement::make(problem.topology, shape.layers, shape.experts,
                                                      problem.slots_per_gpu, std::move(slots)));
  return Solution{.placement = std::move(placement), .notes = {}};
}

}  // namespace moesaic::placement
