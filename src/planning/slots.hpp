// How many slots a GPU gets, from what the user said.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "core/result.hpp"
#include "core/topology.hpp"

namespace moesaic::planning {

/// At most one of the three; none = no replicas.
struct SlotRequest {
  std::optional<std::size_t> slots_per_gpu = {};    ///< --slots-per-gpu
  std::optional<std::size_t> extra_slots = {};      ///< --extra-slots: replicas of a layer, all GPUs together
  std::optional<double> memory_gib = {};            ///< --memory-gib: expert weights of all layers on one GPU
  std::string_view extra_option = "--extra-slots";  ///< what errors call extra_slots
};

/// Slots a GPU and layer. Errors (bad input): a total that does not divide by the GPUs (names both
/// neighbours that do), fewer slots than experts, two requests at once, memory for less than one copy of
/// every expert, or memory without a known expert size. Memory buys at most a slot an expert on each GPU.
/// `expert_bytes` <= 0 = unknown.
Result<std::size_t> slots_per_gpu(const SlotRequest& request, const Topology& topology, std::size_t experts,
                                  std::size_t layers, double expert_bytes);

}  // namespace moesaic::planning
