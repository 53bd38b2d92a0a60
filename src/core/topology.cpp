#include "core/topology.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

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

namespace {

std::string joined(const std::vector<GpuId>& gpus) {
  std::string text;
  for (const GpuId gpu : gpus) text += fmt::format("{}{}", text.empty() ? "" : ",", index(gpu));
  return text;
}

/// GPUs of each node that are not missing.
std::vector<std::vector<std::size_t>> left_on_nodes(const Cluster& cluster) {
  std::vector<std::vector<std::size_t>> left(cluster.whole.nodes);
  for (std::size_t gpu = 0; gpu < cluster.whole.gpus(); ++gpu) {
    if (std::ranges::binary_search(cluster.missing, GpuId(gpu))) continue;
    left[index(cluster.whole.node_of(GpuId(gpu)))].push_back(gpu);
  }
  return left;
}

/// The two ways to make nodes alike: as few GPUs on each as on the smallest, or only whole nodes.
std::string ways_out(const Cluster& cluster, const std::vector<std::vector<std::size_t>>& left) {
  std::size_t least = cluster.whole.gpus_per_node;
  for (const auto& gpus : left) least = std::min(least, gpus.empty() ? least : gpus.size());
  std::vector<std::size_t> alike, whole;
  for (std::size_t gpu = 0; gpu < cluster.whole.gpus(); ++gpu) {
    const auto& gpus = left[index(cluster.whole.node_of(GpuId(gpu)))];
    const auto at = std::ranges::find(gpus, gpu);
    if (at == gpus.end() || static_cast<std::size_t>(at - gpus.begin()) >= least) alike.push_back(gpu);
    if (gpus.size() < cluster.whole.gpus_per_node) whole.push_back(gpu);
  }
  std::string text =
      fmt::format("leave out as many on every node (--missing-gpus {})", fmt::join(alike, ","));
  if (whole.size() < cluster.whole.gpus())
    text += fmt::format(" or whole nodes (--missing-gpus {})", fmt::join(whole, ","));
  return text;
}

}  // namespace

Result<Topology> remaining(const Cluster& cluster) {
  MOESAIC_TRY(validate(cluster.whole));
  for (std::size_t i = 0; i < cluster.missing.size(); ++i) {
    const std::size_t gpu = index(cluster.missing[i]);
    if (gpu >= cluster.whole.gpus() || (i > 0 && index(cluster.missing[i - 1]) >= gpu)) {
      return bad_input(fmt::format("missing GPU {}: expected ids below {}, ascending, each once.", gpu,
                                   cluster.whole.gpus()));
    }
  }
  const auto left = left_on_nodes(cluster);
  Topology topology{.nodes = 0, .gpus_per_node = 0};
  for (std::size_t node = 0; node < left.size(); ++node) {
    if (left[node].empty()) continue;
    if (topology.nodes++ == 0) topology.gpus_per_node = left[node].size();
    if (topology.gpus_per_node != left[node].size()) {
      return bad_input(fmt::format(
          "missing GPUs {}: node {} keeps {} GPUs, another {}; a plan, like every engine, has as many "
          "on each: {}.",
          joined(cluster.missing), node, left[node].size(), topology.gpus_per_node, ways_out(cluster, left)));
    }
  }
  if (topology.nodes == 0) return bad_input("missing GPUs: leave none to plan for.");
  return topology;
}

}  // namespace moesaic
