#include "placement/eplb.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

#include "placement/tournament.hpp"

namespace moesaic::placement::eplb {
namespace {

// Weights are finite and not negative, so the order of their bits is the order of their values and one
// integer comparison decides value and index together.
std::uint64_t ascending(float weight, std::size_t index) {
  return std::uint64_t{std::bit_cast<std::uint32_t>(weight)} << 32 | index;
}
std::uint64_t descending(float weight, std::size_t index) {
  return std::uint64_t{~std::bit_cast<std::uint32_t>(weight)} << 32 | index;
}
std::size_t index_of(std::uint64_t key) { return key & 0xFFFFFFFFu; }

/// One layer's work, and its memory between layers. Names follow the reference: "mlog" are experts
/// reordered so that those of a node are neighbours, "phy" their replicas, "pphy" replicas in slot order.
class LayerBalancer {
 public:
  explicit LayerBalancer(const Shape& shape) : shape_(shape) {
    if (!shape.hierarchical()) shape_.groups = shape_.nodes = 1;
    group_size_ = shape_.experts / shape_.groups;
    mlog2log_.resize(shape_.experts);
  }

  /// phy2log [P], phyrank [P], logcnt [E] of one layer.
  void run(std::span<const float> weight, std::int32_t* phy2log, std::int32_t* phyrank,
           std::int32_t* logcnt) {
    order_groups(weight);
    const std::size_t node_experts = shape_.experts / shape_.nodes;
    const std::size_t node_slots = shape_.replicas / shape_.nodes;
    const std::size_t node_gpus = shape_.gpus / shape_.nodes;
    for (std::size_t node = 0; node < shape_.nodes; ++node) {
      const std::span<const std::uint32_t> log =
          std::span(mlog2log_).subspan(node * node_experts, node_experts);
      replicate(weight, log, node_slots);
      share_.resize(node_slots);
      for (std::size_t phy = 0; phy < node_slots; ++phy) share_[phy] = per_copy_[phy2mlog_[phy]];
      pack(share_, node_gpus);
      for (std::size_t phy = 0; phy < node_slots; ++phy) {
        const std::size_t slot = node * node_slots + place_[phy];
        phy2log[slot] = static_cast<std::int32_t>(log[phy2mlog_[phy]]);
        phyrank[slot] = rank_[phy];
      }
      for (std::size_t m = 0; m < node_experts; ++m) logcnt[log[m]] = count_[m];
    }
  }

 private:
  /// Packs groups onto nodes and lists the experts node by node.
  void order_groups(std::span<const float> weight) {
    share_.resize(shape_.groups);
    for (std::size_t g = 0; g < shape_.groups; ++g) {
      const std::span<const float> group = weight.subspan(g * group_size_, group_size_);
      share_[g] = std::accumulate(group.begin(), group.end(), 0.0f);
    }
    pack(share_, shape_.nodes);
    for (std::size_t g = 0; g < shape_.groups; ++g) {
      for (std::size_t i = 0; i < group_size_; ++i) {
        mlog2log_[place_[g] * group_size_ + i] = static_cast<std::uint32_t>(g * group_size_ + i);
      }
    }
  }

  /// place_[item] = pack * capacity + rank in the pack.
  void pack(std::span<const float> weight, std::size_t packs) {
    const std::size_t items = weight.size(), capacity = items / packs;
    place_.resize(items);
    if (capacity == 1) {
      std::iota(place_.begin(), place_.end(), 0u);
      return;
    }
    keys_.resize(items);
    for (std::size_t i = 0; i < items; ++i) keys_[i] = descending(weight[i], i);
    std::sort(keys_.begin(), keys_.end());
    pack_weight_.assign(packs, 0.0f);
    pack_items_.assign(packs, 0u);
    tree_.reset(packs);
    for (std::size_t p = 0; p < packs; ++p) tree_.set(p, ascending(0.0f, p));
    tree_.build();
    for (const std::uint64_t key : keys_) {
      const std::size_t item = index_of(key), p = index_of(tree_.smallest());
      place_[item] = static_cast<std::uint32_t>(p * capacity + pack_items_[p]++);
      pack_weight_[p] += weight[item];
      tree_.change(p, pack_items_[p] == capacity ? Tournament::kOut : ascending(pack_weight_[p], p));
    }
  }

  /// Copies of the experts `log`: phy2mlog_ and rank_ [slots], count_ and per_copy_ [experts].
  void replicate(std::span<const float> weight, std::span<const std::uint32_t> log, std::size_t slots) {
    const std::size_t experts = log.size();
    phy2mlog_.resize(slots);
    rank_.assign(slots, 0);
    count_.assign(experts, 1);
    per_copy_.resize(experts);
    for (std::size_t m = 0; m < experts; ++m) {
      phy2mlog_[m] = static_cast<std::uint32_t>(m);
      per_copy_[m] = weight[log[m]];
    }
    if (slots == experts) return;
    tree_.reset(experts);
    for (std::size_t m = 0; m < experts; ++m) tree_.set(m, descending(per_copy_[m], m));
    tree_.build();
    for (std::size_t phy = experts; phy < slots; ++phy) {
      const std::size_t m = index_of(tree_.smallest());
      phy2mlog_[phy] = static_cast<std::uint32_t>(m);
      rank_[phy] = count_[m]++;
      per_copy_[m] = weight[log[m]] / static_cast<float>(count_[m]);
      tree_.change(m, descending(per_copy_[m], m));
    }
  }

  Shape shape_;
  std::size_t group_size_ = 0;
  std::vector<std::uint32_t> mlog2log_, place_, phy2mlog_, pack_items_;
  std::vector<std::int32_t> rank_, count_;
  std::vector<float> share_, per_copy_, pack_weight_;
  std::vector<std::uint64_t> keys_;
  Tournament tree_;
};

Status check(std::span<const float> weight, const Shape& shape) {
  const auto divides = [](std::size_t part, std::size_t whole) { return part > 0 && whole % part == 0; };
  if (shape.experts == 0 || weight.size() != shape.layers * shape.experts) {
    return bad_input(fmt::format("eplb: {} weights, expected {} layers x {} experts", weight.size(),
                                 shape.layers, shape.experts));
  }
  if (!divides(shape.groups, shape.experts)) {
    return bad_input(
        fmt::format("eplb: {} experts in {} groups, expected groups of one size; change --expert-groups",
                    shape.experts, shape.groups));
  }
  if (!divides(shape.nodes, shape.gpus) || !divides(shape.gpus, shape.replicas)) {
    return bad_input(fmt::format("eplb: {} slots on {} GPUs of {} nodes, expected the same number everywhere",
                                 shape.replicas, shape.gpus, shape.nodes));
  }
  if (shape.replicas < shape.experts) {
    return bad_input(fmt::format("eplb: {} slots for {} experts, expected at least as many", shape.replicas,
                                 shape.experts));
  }
  for (std::size_t i = 0; i < weight.size(); ++i) {
    if (!(std::isfinite(weight[i]) && !std::signbit(weight[i]))) {
      return bad_input(fmt::format("eplb: layer row {} expert {} has load {}, expected a finite load >= 0",
                                   i / shape.experts, i % shape.experts, weight[i]));
    }
  }
  return {};
}

}  // namespace

Result<Mapping> rebalance(std::span<const float> weight, const Shape& shape, ThreadPool* pool) {
  MOESAIC_TRY(check(weight, shape));
  const std::size_t slots = shape.replicas, experts = shape.experts;
  Mapping mapping;
  mapping.phy2log.resize(shape.layers * slots);
  mapping.logcnt.resize(shape.layers * experts);
  std::vector<std::int32_t> phyrank(shape.layers * slots);
  const auto layer = [&](LayerBalancer& balancer, std::size_t row) {
    balancer.run(weight.subspan(row * experts, experts), &mapping.phy2log[row * slots], &phyrank[row * slots],
                 &mapping.logcnt[row * experts]);
  };
  if (pool == nullptr || shape.layers < 2) {
    LayerBalancer balancer(shape);
    for (std::size_t row = 0; row < shape.layers; ++row) layer(balancer, row);
  } else {
    pool->parallel_for(shape.layers, [&](std::size_t row) {
      LayerBalancer balancer(shape);
      layer(balancer, row);
    });
  }
  for (const std::int32_t copies : mapping.logcnt) {
    mapping.max_copies = std::max(mapping.max_copies, static_cast<std::size_t>(copies));
  }
  mapping.log2phy.assign(shape.layers * experts * mapping.max_copies, -1);
  for (std::size_t i = 0; i < mapping.phy2log.size(); ++i) {
    const std::size_t row = i / slots, expert = static_cast<std::size_t>(mapping.phy2log[i]);
    mapping.log2phy[(row * experts + expert) * mapping.max_copies + static_cast<std::size_t>(phyrank[i])] =
        static_cast<std::int32_t>(i % slots);
  }
  return mapping;
}

}  // namespace moesaic::placement::eplb
