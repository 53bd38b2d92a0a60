#include "placement/eplb_problem.hpp"

#include <fmt/format.h>

#include "placement/fill.hpp"

namespace moesaic::placement {

eplb::Shape eplb_shape(const Problem& problem) {
  const ModelShape& model = problem.demand.shape();
  return {.layers = model.layers.size(),
          .experts = model.experts,
          .replicas = problem.topology.gpus() * problem.slots_per_gpu,
          .groups = problem.expert_groups,
          .nodes = problem.topology.nodes,
          .gpus = problem.topology.gpus()};
}

Result<Solution> solution_of(const Problem& problem, const eplb::Mapping& mapping) {
  MOESAIC_ASSIGN(Solution solution, fill(problem, [&](std::size_t row, std::span<ExpertId> slots) -> Status {
                   for (std::size_t slot = 0; slot < slots.size(); ++slot) {
                     slots[slot] = ExpertId(mapping.phy2log[row * slots.size() + slot]);
                   }
                   return {};
                 }));
  const eplb::Shape shape = eplb_shape(problem);
  if (!shape.hierarchical() && shape.groups > 1) {
    solution.notes.push_back(
        fmt::format("The global policy was used because {} expert groups do not divide over {} nodes.",
                    shape.groups, shape.nodes));
  }
  return solution;
}

}  // namespace moesaic::placement
