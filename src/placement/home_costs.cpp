#include "placement/home_costs.hpp"

#include <algorithm>
#include <array>

#include "core/check.hpp"

namespace moesaic::placement {
namespace {

/// With one slot an expert the GPUs a token uses do not depend on its home: a home saves what it holds.
class FixedGpus {
 public:
  FixedGpus(const Topology& topology, std::span<const std::uint32_t> gpu_of_expert,
            const traffic::Objective& objective, bool per_expert)
      : topology_(topology),
        gpu_of_expert_(gpu_of_expert),
        attention_(objective.attention),
        per_expert_(per_expert),
        rows_(topology.gpus()),
        on_node_(topology.nodes) {}

  void add_token(std::span<const ExpertId> experts, std::size_t position, std::int64_t* node_copies,
                 std::int64_t* gpu_copies) {
    std::ranges::fill(rows_, 0);
    std::ranges::fill(on_node_, 0);
    for (const ExpertId expert : experts) {
      if (expert != kMissingExpert) ++rows_[gpu_of_expert_[index(expert)]];
    }
    if (!per_expert_) {
      for (std::int64_t& rows : rows_) rows = std::min<std::int64_t>(rows, 1);
    }
    std::int64_t nodes = 0, gpus = 0;
    for (std::size_t g = 0; g < rows_.size(); ++g) {
      on_node_[index(topology_.node_of(GpuId(g)))] += rows_[g];
      gpus += rows_[g];
    }
    const std::vector<std::int64_t> reached = on_node_;  // in copies of the mode
    for (std::int64_t& copies : on_node_) {
      if (!per_expert_) copies = std::min<std::int64_t>(copies, 1);
      nodes += copies;
    }
    for (std::size_t h = 0; h < topology_.homes(attention_); ++h) {
      const GpuId source = topology_.source_gpu(HomeId(h), position, attention_);
      const std::size_t node = index(topology_.node_of(source));
      node_copies[h] += nodes - on_node_[node];
      // Rows: what stays on the node but leaves the GPU. Else: every GPU reached but those a copy lands on.
      gpu_copies[h] +=
          per_expert_ ? reached[node] - rows_[index(source)] : gpus - landed(topology_.local_index(source));
    }
  }

 private:
  std::int64_t landed(std::size_t local) const {
    std::int64_t count = 0;
    for (std::size_t n = 0; n < topology_.nodes; ++n) count += rows_[index(topology_.gpu(NodeId(n), local))];
    return count;
  }

  const Topology& topology_;
  std::span<const std::uint32_t> gpu_of_expert_;
  Attention attention_;
  bool per_expert_;
  std::vector<std::int64_t> rows_, on_node_;
};

}  // namespace

HomeCosts home_costs(const traffic::LayerTokens& tokens, const Topology& topology, std::size_t experts,
                     std::span<const ExpertId> slots, const traffic::Objective& objective, bool per_expert) {
  HomeCosts costs{.homes = topology.homes(objective.attention), .node_copies = {}, .gpu_copies = {}};
  costs.node_copies.resize(tokens.segments.size() * costs.homes);
  costs.gpu_copies.resize(costs.node_copies.size());
  if (slots.size() == experts) {
    std::vector<std::uint32_t> gpu_of_expert(experts);
    for (std::size_t s = 0; s < slots.size(); ++s) {
      gpu_of_expert[index(slots[s])] = static_cast<std::uint32_t>(s / (slots.size() / topology.gpus()));
    }
    FixedGpus fixed(topology, gpu_of_expert, objective, per_expert);
    for (std::size_t i = 0; i < tokens.segments.size(); ++i) {
      const traffic::Segment& segment = tokens.segments[i];
      for (std::size_t j = 0; j < segment.count; ++j) {
        fixed.add_token(tokens.experts.subspan((segment.begin + j) * tokens.k, tokens.k),
                        segment.position + j, &costs.node_copies[i * costs.homes],
                        &costs.gpu_copies[i * costs.homes]);
      }
    }
    return costs;
  }
  for (std::size_t i = 0; i < tokens.segments.size(); ++i) {
    for (std::size_t h = 0; h < costs.homes; ++h) {
      std::array<traffic::Segment, 1> alone = {tokens.segments[i]};
      alone[0].home = HomeId(h);
      const auto traffic = traffic::score_layer({tokens.layer, tokens.k, tokens.experts, alone}, topology,
                                                experts, slots, objective);
      const traffic::Copies& copies = per_expert ? traffic.per_expert : traffic.dedup;
      costs.node_copies[i * costs.homes + h] = copies.node;
      costs.gpu_copies[i * costs.homes + h] = copies.gpu;
    }
  }
  return costs;
}

void add(HomeCosts& sum, const HomeCosts& layer) {
  if (sum.homes == 0) {
    sum = layer;
    return;
  }
  MOESAIC_CHECK(sum.homes == layer.homes && sum.node_copies.size() == layer.node_copies.size());
  for (std::size_t i = 0; i < sum.node_copies.size(); ++i) {
    sum.node_copies[i] += layer.node_copies[i];
    sum.gpu_copies[i] += layer.gpu_copies[i];
  }
}

}  // namespace moesaic::placement
