// EPLB, DeepSeek's expert-parallel load balancer (github.com/deepseek-ai/EPLB, eplb.py), reproduced
// exactly: same maps for same weights.
//
// Hierarchical policy (groups % nodes == 0): groups of experts are packed onto nodes by load, experts are
// replicated inside their node, replicas are packed onto the node's GPUs. Else the global policy: the same
// with one group and one node.
//   packing      items by descending weight, each onto the lightest pack that is not full
//   replication  a copy more for the expert with the largest weight / copies, again and again
// Arithmetic is float32. Ties: equal weights keep index order, the first pack and the first expert win.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/result.hpp"
#include "core/thread_pool.hpp"

namespace moesaic::placement::eplb {

struct Shape {
  std::size_t layers = 0;
  std::size_t experts = 0;   ///< logical, a layer
  std::size_t replicas = 0;  ///< physical slots, a layer
  std::size_t groups = 1;
  std::size_t nodes = 1;
  std::size_t gpus = 1;

  bool hierarchical() const { return groups % nodes == 0; }
};

struct Mapping {
  std::size_t max_copies = 0;         ///< X, over all layers
  std::vector<std::int32_t> phy2log;  ///< [L, P]: expert of a slot
  std::vector<std::int32_t> log2phy;  ///< [L, E, X]: slots of an expert by copy, padded with -1
  std::vector<std::int32_t> logcnt;   ///< [L, E]: copies of an expert
};

/// `weight` is [L, E]. Errors (bad input): sizes that do not divide, fewer replicas than experts, a weight
/// that is negative or not finite. O(L (P log P)); the same at any thread count.
Result<Mapping> rebalance(std::span<const float> weight, const Shape& shape, ThreadPool* pool = nullptr);

}  // namespace moesaic::placement::eplb
