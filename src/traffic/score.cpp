#include "traffic/score.hpp"

#include <algorithm>
#include <array>

#include "core/balance.hpp"
#include "traffic/rows.hpp"

namespace moesaic::traffic {
namespace {

/// Marks members of a small set, cleared in O(1).
class Stamps {
 public:
  explicit Stamps(std::size_t size) : last_(size) {}
  void clear() { ++now_; }
  /// True the first time since clear().
  bool mark(std::size_t i) {
    const bool fresh = last_[i] != now_;
    last_[i] = now_;
    return fresh;
  }

 private:
  std::vector<std::uint64_t> last_;
  std::uint64_t now_ = 1;
};

/// Counts a step needs: node -> node in both modes, GPU rows, activated slots.
class StepCounts {
 public:
  StepCounts(const Steps& steps, const Topology& topology, std::size_t experts)
      : nodes_(topology.nodes),
        gpus_(topology.gpus()),
        experts_(experts),
        dedup_(steps.count * nodes_ * nodes_),
        per_expert_(steps.count * nodes_ * nodes_),
        rows_(steps.count * gpus_),
        active_((steps.count * gpus_ * experts + 63) / 64) {}

  void node_copy(std::size_t step, std::size_t from, std::size_t to) {
    ++dedup_[(step * nodes_ + from) * nodes_ + to];
  }
  void row(std::size_t step, std::size_t from, std::size_t to, std::size_t gpu, std::size_t expert) {
    if (from != to) ++per_expert_[(step * nodes_ + from) * nodes_ + to];
    ++rows_[step * gpus_ + gpu];
    const std::size_t bit = (step * gpus_ + gpu) * experts_ + expert;
    active_[bit / 64] |= std::uint64_t{1} << (bit % 64);
  }

  void finish(LayerTraffic& traffic) const {
    const std::size_t pairs = nodes_ * nodes_;
    std::vector<std::int64_t> loads(gpus_);
    for (std::size_t step = 0; step * gpus_ < rows_.size(); ++step) {
      for (std::size_t g = 0; g < gpus_; ++g) loads[g] = rows_[step * gpus_ + g];
      if (std::ranges::all_of(loads, [](std::int64_t load) { return load == 0; })) continue;
      traffic.step_gpu_imbalance.push_back(max_over_mean(loads));
      traffic.dedup.padded_node += padded(std::span(dedup_).subspan(step * pairs, pairs));
      traffic.per_expert.padded_node += padded(std::span(per_expert_).subspan(step * pairs, pairs));
    }
    for (const std::uint64_t word : active_) traffic.activated_slots += __builtin_popcountll(word);
  }

 private:
  std::int64_t padded(std::span<const std::uint32_t> pairs) const {
    return static_cast<std::int64_t>(nodes_ * (nodes_ - 1)) * *std::ranges::max_element(pairs);
  }

  std::size_t nodes_, gpus_, experts_;
  std::vector<std::uint32_t> dedup_, per_expert_, rows_;
  std::vector<std::uint64_t> active_;
};

}  // namespace

LayerTraffic score_layer(const LayerTokens& tokens, const Topology& topology, std::size_t experts,
                         std::span<const ExpertId> slots, const Objective& objective, const Steps* steps) {
  const std::size_t nodes = topology.nodes;
  LayerTraffic traffic;
  traffic.gpu_rows.resize(topology.gpus());
  traffic.dedup.node_to_node.resize(nodes * nodes);
  traffic.per_expert.node_to_node.resize(nodes * nodes);
  StepCounts step_counts(steps != nullptr ? *steps : Steps{}, topology, experts);
  Stamps node_used(nodes), gpu_used(topology.gpus());

  for_each_row(tokens, topology, experts, slots, objective, [&](std::size_t token, GpuId source) {
    const std::size_t step = steps != nullptr ? steps->of_token[token] : 0;
    const std::size_t source_node = index(topology.node_of(source)), landing = topology.local_index(source);
    node_used.clear();
    gpu_used.clear();
    ++traffic.tokens;
    return [&, step, source, source_node, landing](ExpertId expert, GpuId gpu) {
      const std::size_t node = index(topology.node_of(gpu));
      ++traffic.rows;
      ++traffic.gpu_rows[index(gpu)];
      if (node != source_node) {
        ++traffic.per_expert.node_to_node[source_node * nodes + node];
      } else if (gpu != source) {
        ++traffic.per_expert.gpu;
      }
      if (steps != nullptr) step_counts.row(step, source_node, node, index(gpu), index(expert));
      if (node != source_node && node_used.mark(node)) {
        ++traffic.dedup.node_to_node[source_node * nodes + node];
        if (steps != nullptr) step_counts.node_copy(step, source_node, node);
      }
      // The copy is already there on the home GPU, and on the GPU where it lands on a remote node.
      if (topology.local_index(gpu) != landing && gpu_used.mark(index(gpu))) ++traffic.dedup.gpu;
    };
  });
  for (std::size_t pair = 0; pair < nodes * nodes; ++pair) {
    traffic.dedup.node += traffic.dedup.node_to_node[pair];
    traffic.per_expert.node += traffic.per_expert.node_to_node[pair];
  }
  if (steps != nullptr) step_counts.finish(traffic);
  return traffic;
}

}  // namespace moesaic::traffic
