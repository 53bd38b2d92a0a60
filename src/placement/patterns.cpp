#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "placement/algorithms.hpp"
#include "placement/fill.hpp"
#include "placement/greedy.hpp"
#include "placement/preference.hpp"

namespace moesaic::placement {
namespace {

/// A GPU takes at most this times its even share of the rows of its node, where that is possible: inside a
/// node copies are cheap and the slowest GPU is what everybody waits for.
constexpr double kGpuSlack = 1.05;

/// Rows of one layer and what the layout of its nodes says about them.
class LayerPatterns {
 public:
  LayerPatterns(const Problem& problem, std::size_t row)
      : problem_(problem), topology_(problem.topology), experts_(problem.demand.shape().experts), row_(row) {}

  Status run(std::span<ExpertId> slots) {
    const ModelShape& shape = problem_.demand.shape();
    MOESAIC_ASSIGN(const LayerDemand demand, problem_.demand.layer(row_));
    by_gpu_ = rows_by_gpu(demand.view(shape.layers[row_], shape.top_k), topology_,
                          problem_.objective.attention, experts_);
    by_node_ = rows_by_node(by_gpu_, topology_, experts_);
    place_unique_experts();
    add_copies();
    for (std::size_t node = 0; node < topology_.nodes; ++node) place_on_gpus(node, slots);
    return {};
  }

 private:
  std::int64_t wish(std::size_t node, std::size_t expert) const { return by_node_[node * experts_ + expert]; }

  /// --max-imbalance times the mean load of `bins`, or no limit.
  std::int64_t load_limit(std::int64_t total, std::size_t bins) const {
    if (problem_.max_imbalance == 0) return std::numeric_limits<std::int64_t>::max();
    return static_cast<std::int64_t>(
        std::floor(problem_.max_imbalance * static_cast<double>(total) / static_cast<double>(bins)));
  }

  /// Stage 1: every expert to one node, at most ceil(E / N) on each.
  void place_unique_experts() {
    std::vector<std::int64_t> load(experts_);
    for (std::size_t node = 0; node < topology_.nodes; ++node) {
      for (std::size_t e = 0; e < experts_; ++e) load[e] += wish(node, e);
    }
    const std::vector<std::uint32_t> node_of =
        assign_greedily({.bins = topology_.nodes,
                         .preference = by_node_,
                         .load = load,
                         .kind = {},
                         .capacity = (experts_ + topology_.nodes - 1) / topology_.nodes,
                         .load_limit = load_limit(std::accumulate(load.begin(), load.end(), std::int64_t{0}),
                                                  topology_.nodes)});
    copies_.assign(topology_.nodes, std::vector<std::uint32_t>(experts_));
    for (std::size_t e = 0; e < experts_; ++e) copies_[node_of[e]][e] = 1;
  }

  /// Stage 2: a node's other slots take what its own tokens still fetch from elsewhere, most wanted first;
  /// a node that holds every expert doubles those with most rows a copy.
  void add_copies() {
    const std::size_t node_slots = problem_.slots_per_gpu * topology_.gpus_per_node;
    for (std::size_t node = 0; node < topology_.nodes; ++node) {
      std::vector<std::uint32_t>& copies = copies_[node];
      for (std::size_t held = std::accumulate(copies.begin(), copies.end(), std::size_t{0});
           held < node_slots; ++held) {
        std::size_t best = 0;
        for (std::size_t e = 1; e < experts_; ++e) {
          const bool absent = copies[e] == 0, best_absent = copies[best] == 0;
          const bool better = absent != best_absent ? absent
                              : absent              ? wish(node, e) > wish(node, best)
                                       : wish(node, e) * copies[best] > wish(node, best) * copies[e];
          if (better) best = e;
        }
        ++copies[best];
      }
    }
  }

  /// Rows that a node's copies of an expert serve: its own tokens', and an even share of those of nodes
  /// that have no copy.
  std::int64_t served(std::size_t node, std::size_t expert) const {
    std::int64_t holders = 0, orphans = 0;
    for (std::size_t d = 0; d < topology_.nodes; ++d) {
      (copies_[d][expert] > 0 ? holders : orphans) += copies_[d][expert] > 0 ? 1 : wish(d, expert);
    }
    return wish(node, expert) + orphans / holders;
  }

  /// Stage 3: inside a node the same recipe with the wishes of its GPUs.
  void place_on_gpus(std::size_t node, std::span<ExpertId> slots) {
    const std::size_t gpus = topology_.gpus_per_node, per_gpu = problem_.slots_per_gpu;
    std::vector<std::uint32_t> kind;
    std::vector<std::int64_t> load;
    for (std::uint32_t e = 0; e < experts_; ++e) {
      for (std::uint32_t copy = 0; copy < copies_[node][e]; ++copy) {
        kind.push_back(e);
        load.push_back(served(node, e) / copies_[node][e]);
      }
    }
    std::vector<std::int64_t> preference(gpus * kind.size());
    for (std::size_t g = 0; g < gpus; ++g) {
      for (std::size_t i = 0; i < kind.size(); ++i) {
        preference[g * kind.size() + i] = by_gpu_[(node * gpus + g) * experts_ + kind[i]];
      }
    }
    const std::int64_t rows = std::accumulate(by_node_.begin(), by_node_.end(), std::int64_t{0});
    const auto held = static_cast<double>(std::accumulate(load.begin(), load.end(), std::int64_t{0}));
    const auto even = static_cast<std::int64_t>(std::ceil(kGpuSlack * held / static_cast<double>(gpus)));
    const std::vector<std::uint32_t> gpu_of =
        assign_greedily({.bins = gpus,
                         .preference = preference,
                         .load = load,
                         .kind = kind,
                         .capacity = per_gpu,
                         .load_limit = std::min(even, load_limit(rows, topology_.gpus()))});
    std::vector<std::size_t> used(gpus);
    for (std::size_t i = 0; i < kind.size(); ++i) {
      slots[(node * gpus + gpu_of[i]) * per_gpu + used[gpu_of[i]]++] = ExpertId(kind[i]);
    }
  }

  const Problem& problem_;
  const Topology topology_;
  std::size_t experts_, row_;
  std::vector<std::int64_t> by_gpu_, by_node_;      ///< U, [GPUs, E] and [N, E]
  std::vector<std::vector<std::uint32_t>> copies_;  ///< [N][E]
};

class Patterns final : public Algorithm {
 public:
  std::string_view name() const override { return "patterns"; }
  std::string_view summary() const override {
    return "every expert on the node whose requests want it most, extra slots for what each node misses most";
  }
  std::string_view source() const override { return "arXiv:2604.23150 (2026), section 4.2"; }
  bool needs_tokens() const override { return true; }

  Result<Solution> place(const Problem& problem) const override {
    return fill(problem, [&](std::size_t row, std::span<ExpertId> slots) -> Status {
      return LayerPatterns(problem, row).run(slots);
    });
  }
};

}  // namespace

const Algorithm& patterns() {
  static const Patterns algorithm;
  return algorithm;
}

}  // namespace moesaic::placement
