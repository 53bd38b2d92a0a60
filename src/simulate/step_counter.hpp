// What one decode step of a batch activates.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cost/step_time.hpp"
#include "simulate/cluster.hpp"
#include "simulate/recording.hpp"

namespace moesaic::simulate {

/// A request in a batch, at its current position.
struct Running {
  const std::uint64_t* row = nullptr;  ///< Recording::bits of this step
  std::uint32_t left = 0;              ///< steps, this one included
  std::uint32_t flight = 0;            ///< the simulation's own index
  std::uint32_t position = 0;          ///< steps done
  std::uint32_t context = 0;           ///< tokens of KV: prompt + steps done
  std::uint16_t home = 0;              ///< its GPU
  /// [L, E] that a step is predicted to activate, for Admission::Kind::kMicroBatch alone.
  std::span<const float> predicted{};
};

class StepCounter {
 public:
  /// The recording (and plan, if any) must outlive this. REQUIRES: a plan for the recording's layers and
  /// experts under a rule that looks at the source alone.
  StepCounter(const Recording& recording, const DecoderPlan* plan);

  std::size_t gpus() const { return gpus_; }

  /// Load of one step: counts of the busiest GPU, layer by layer; copies as in per-expert mode, from a row's
  /// source. `active` gets the distinct (layer, expert, GPU) of all GPUs. One GPU: O(batch x words);
  /// several: O(rows of the batch).
  cost::StepLoad count(std::span<const Running> batch, std::int64_t& active);

 private:
  cost::StepLoad count_one_gpu(std::span<const Running> batch, std::int64_t& active);
  cost::StepLoad count_gpus(std::span<const Running> batch, std::int64_t& active);

  std::size_t words_, layers_, experts_, gpus_ = 1, gpus_per_node_ = 1;
  std::vector<std::uint64_t> any_;     ///< OR of the batch
  std::vector<std::uint16_t> target_;  ///< [source GPU, L, E]
  std::vector<std::uint32_t> stamp_;   ///< [cells, GPU]
  std::uint32_t now_ = 0;
  std::vector<std::int64_t> slots_, copies_, node_copies_;  ///< [L, GPU] of this step
};

}  // namespace moesaic::simulate
