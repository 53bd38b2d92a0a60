// What load-only placement can do for one layer: a quick plan with replicas, and bounds.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace moesaic::profile {

/// Slots of one layer: gpu_of[e] lists the GPUs that hold a copy of expert e.
struct QuickPlan {
  std::size_t gpus = 1;
  std::vector<std::vector<std::size_t>> gpu_of;
};

/// Replicas go where load a copy is largest (first index on ties), then copies by falling load onto the
/// lightest GPU with a free slot and, where one is left, without that expert (Graham's LPT; DeepSeek's EPLB).
/// `slots_per_gpu * gpus >= loads.size()`. A heuristic. O(S E) for S extra slots.
QuickPlan quick_plan(std::span<const double> loads, std::size_t gpus, std::size_t slots_per_gpu);

/// Max/mean over GPUs of loads under a plan, an expert's load shared evenly by its copies. NaN: no load.
double imbalance(const QuickPlan& plan, std::span<const double> loads);

/// Of the contiguous layout: expert e on GPU e / (E / gpus). REQUIRES: gpus divides loads.size().
double contiguous_imbalance(std::span<const double> loads, std::size_t gpus);

/// No plan with so many slots has a lower max/mean: the hottest copy when copies are dealt out at best, or 1.
double imbalance_bound(std::span<const double> loads, std::size_t gpus, std::size_t slots_per_gpu);

/// The largest number of GPUs <= `wanted` that divides `experts`.
std::size_t fitting_gpus(std::size_t experts, std::size_t wanted);

}  // namespace moesaic::profile
