// Nodes and their GPUs. GPU ids run node by node: GPU g is the (g mod G)-th of node g / G.
#pragma once

#include <cstddef>
#include <vector>

#include "core/ids.hpp"
#include "core/result.hpp"

namespace moesaic {

/// Where a request's attention runs.
enum class Attention {
  kDataParallel,    ///< "dp": home is a GPU
  kTensorParallel,  ///< "tp": home is a node; token at position p belongs to its GPU p mod G
};

struct Topology {
  std::size_t nodes = 1;
  std::size_t gpus_per_node = 1;

  std::size_t gpus() const { return nodes * gpus_per_node; }
  NodeId node_of(GpuId gpu) const { return NodeId(index(gpu) / gpus_per_node); }
  std::size_t local_index(GpuId gpu) const { return index(gpu) % gpus_per_node; }
  GpuId gpu(NodeId node, std::size_t local) const { return GpuId(index(node) * gpus_per_node + local); }

  /// Homes there are: GPUs (dp) or nodes (tp).
  std::size_t homes(Attention attention) const {
    return attention == Attention::kDataParallel ? gpus() : nodes;
  }
  NodeId node_of_home(HomeId home, Attention attention) const {
    return attention == Attention::kDataParallel ? node_of(GpuId(index(home))) : NodeId(index(home));
  }
  /// GPU on which the token at `position` of a request with this home lives.
  GpuId source_gpu(HomeId home, std::size_t position, Attention attention) const {
    return attention == Attention::kDataParallel ? GpuId(index(home))
                                                 : gpu(NodeId(index(home)), position % gpus_per_node);
  }

  bool operator==(const Topology&) const = default;
};

/// A cluster some of whose GPUs are left out. What is left is a topology of its own: GPU i of it is the i-th
/// GPU that is not missing.
struct Cluster {
  Topology whole;
  std::vector<GpuId> missing;  ///< ascending, each once

  bool operator==(const Cluster&) const = default;
};

/// What is left of the cluster. Errors (bad input): a GPU that is not there or named twice; nothing left;
/// nodes left with different numbers of GPUs, which no plan and no engine can express (the message names what
/// else to leave out). A node that loses all its GPUs is gone. O(GPUs).
Result<Topology> remaining(const Cluster& cluster);

/// At least one node and GPU, at most limits::kMaxGpus in all.
Status validate(const Topology& topology);

}  // namespace moesaic
