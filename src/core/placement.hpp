// A placement maps every slot of every MoE layer to the expert whose weights it holds. Slots of a GPU
// are contiguous, GPUs of a node are contiguous, every GPU has the same number of slots.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "core/ids.hpp"
#include "core/model_shape.hpp"
#include "core/result.hpp"
#include "core/topology.hpp"

namespace moesaic {

class Placement {
 public:
  /// `slots` is [layers.size(), topology.gpus() * slots_per_gpu], row-major.
  /// Errors (bad input): a wrong size, an id >= experts, an expert of a layer without a slot.
  static Result<Placement> make(Topology topology, std::vector<LayerId> layers, std::size_t experts,
                                std::size_t slots_per_gpu, std::vector<ExpertId> slots);

  const Topology& topology() const { return topology_; }
  const std::vector<LayerId>& layers() const { return layers_; }
  std::size_t experts() const { return experts_; }
  std::size_t slots_per_gpu() const { return slots_per_gpu_; }
  /// Slots of one layer over all GPUs (P).
  std::size_t slots() const { return topology_.gpus() * slots_per_gpu_; }
  /// Slots beyond one an expert (P - E).
  std::size_t extra_slots() const { return slots() - experts_; }
  std::span<const ExpertId> layer(std::size_t row) const {
    return std::span(slots_).subspan(row * slots(), slots());
  }
  std::span<const ExpertId> all_slots() const { return slots_; }
  GpuId gpu_of(SlotId slot) const { return GpuId(index(slot) / slots_per_gpu_); }

  bool operator==(const Placement&) const = default;

 private:
  Placement() = default;
  Topology topology_;
  std::vector<LayerId> layers_;
  std::size_t experts_ = 0;
  std::size_t slots_per_gpu_ = 0;
  std::vector<ExpertId> slots_;
};

}  // namespace moesaic
