#include "core/placement.hpp"

#include <fmt/format.h>

#include <utility>

#include "core/limits.hpp"

namespace moesaic {

Result<Placement> Placement::make(Topology topology, std::vector<LayerId> layers, std::size_t experts,
                                  std::size_t slots_per_gpu, std::vector<ExpertId> slots) {
  MOESAIC_TRY(validate(topology));
  if (slots_per_gpu == 0 || slots_per_gpu > limits::kMaxSlots ||
      topology.gpus() * slots_per_gpu > limits::kMaxSlots) {
    return bad_input(fmt::format("placement: {} slots a GPU on {} GPUs, expected 1 to {} slots a layer",
                                 slots_per_gpu, topology.gpus(), limits::kMaxSlots));
  }
  const std::size_t per_layer = topology.gpus() * slots_per_gpu;
  if (slots.size() != layers.size() * per_layer) {
    return bad_input(fmt::format("placement: {} slots in all, expected {} layers x {} slots", slots.size(),
                                 layers.size(), per_layer));
  }
  std::vector<char> seen(experts);
  for (std::size_t row = 0; row < layers.size(); ++row) {
    seen.assign(experts, 0);
    for (std::size_t slot = 0; slot < per_layer; ++slot) {
      const std::size_t expert = index(slots[row * per_layer + slot]);
      if (expert >= experts) {
        return bad_input(fmt::format("placement: layer {} slot {} holds expert {}, expected below {}",
                                     index(layers[row]), slot, expert, experts));
      }
      seen[expert] = 1;
    }
    for (std::size_t expert = 0; expert < experts; ++expert) {
      if (seen[expert] == 0) {
        return bad_input(fmt::format("placement: layer {} has no slot for expert {}; every expert needs one",
                                     index(layers[row]), expert));
      }
    }
  }
  Placement placement;
  placement.topology_ = topology;
  placement.layers_ = std::move(layers);
  placement.experts_ = experts;
  placement.slots_per_gpu_ = slots_per_gpu;
  placement.slots_ = std::move(slots);
  return placement;
}

}  // namespace moesaic
