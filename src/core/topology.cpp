#include "core/topology.hpp"

#include <fmt/format.h>

#include "core/limits.hpp"

namespace moesaic {

Status validate(const Topology& topology) {
  const bool counted = topology.nodes > 0 && topology.gpus_per_node > 0;
  if (!counted || topology.nodes > limits::kMaxGpus || topology.gpus_per_node > limits::kMaxGpus ||
      topology.gpus() > limits::kMaxGpus) {
    return bad_input(fmt::format("topology: {} nodes x {} GPUs, expected at least 1 x 1 and at most {} GPUs",
                                 topology.nodes, topology.gpus_per_node, limits::kMaxGpus));
  }
  return {};
}

}  // namespace moesaic
