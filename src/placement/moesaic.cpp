#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/random.hpp"
#include "placement/algorithms.hpp"
#include "placement/fill.hpp"
#include "placement/partition_search.hpp"
#include "placement/patterns_table.hpp"

namespace moesaic::placement {
namespace {

/// Without --max-imbalance. On the planning tokens; unseen ones come out a few hundredths above.
constexpr double kDefaultImbalance = 1.05;

/// Tokens of a layer that are searched over; more are thinned evenly. Beyond this the copies an
/// assignment saves no longer change with the sample (bench/placement/moesaic_quality.cpp).
constexpr std::size_t kSearchTokens = 200'000;

/// Loads of a layer as integers that sum to about 2^40.
std::vector<std::int64_t> integer_loads(std::span<const double> loads) {
  const double total = std::accumulate(loads.begin(), loads.end(), 0.0);
  std::vector<std::int64_t> result(loads.size(), 1);
  if (total <= 0) return result;
  for (std::size_t e = 0; e < loads.size(); ++e) result[e] = std::llround(loads[e] / total * 0x1p40);
  return result;
}

/// One layer: experts to nodes, then the experts of each node to its GPUs.
class LayerPlan {
 public:
  LayerPlan(const Problem& problem, std::size_t row)
      : problem_(problem),
        topology_(problem.topology),
        experts_(problem.demand.shape().experts),
        loads_(integer_loads(problem.demand.loads().subspan(row * experts_, experts_))),
        random_(problem.seed, row) {
    mean_ = static_cast<double>(std::accumulate(loads_.begin(), loads_.end(), std::int64_t{0}));
  }

  void place(const PatternTable& sources, std::span<ExpertId> slots) {
    std::vector<std::uint16_t> all(experts_), node_of_gpu(topology_.gpus()), index_of_gpu(topology_.gpus());
    std::iota(all.begin(), all.end(), std::uint16_t{0});
    for (std::size_t g = 0; g < topology_.gpus(); ++g) {
      node_of_gpu[g] = static_cast<std::uint16_t>(index(topology_.node_of(GpuId(g))));
      index_of_gpu[g] = static_cast<std::uint16_t>(topology_.local_index(GpuId(g)));
    }
    const auto node_of =
        partition(project(sources, all, experts_, node_of_gpu, topology_.nodes), loads_, topology_.nodes);
    for (std::size_t node = 0; node < topology_.nodes; ++node) {
      std::vector<std::uint16_t> members, local(experts_, kLeftOut);
      std::vector<std::int64_t> member_loads;
      for (std::size_t e = 0; e < experts_; ++e) {
        if (node_of[e] != node) continue;
        local[e] = static_cast<std::uint16_t>(members.size());
        members.push_back(static_cast<std::uint16_t>(e));
        member_loads.push_back(loads_[e]);
      }
      const auto gpu_of =
          partition(project(sources, local, members.size(), index_of_gpu, topology_.gpus_per_node),
                    member_loads, topology_.gpus());
      std::vector<std::size_t> next(topology_.gpus_per_node);
      for (std::size_t m = 0; m < members.size(); ++m) {
        const std::size_t gpu = node * topology_.gpus_per_node + gpu_of[m];
        slots[gpu * problem_.slots_per_gpu + next[gpu_of[m]]++] = ExpertId(members[m]);
      }
    }
  }

 private:
  /// `bins` is how many parts share the layer's whole load: the mean the limit refers to.
  std::vector<std::uint16_t> partition(const PatternTable& table, std::span<const std::int64_t> loads,
                                       std::size_t bins) {
    std::vector<std::vector<std::uint16_t>> starts{balanced_assignment(loads, table.part_count)};
    if (table.part_count == 1) return starts[0];
    const double factor = problem_.max_imbalance > 0 ? problem_.max_imbalance : kDefaultImbalance;
    const auto wanted = static_cast<std::int64_t>(factor * mean_ / static_cast<double>(bins));
    const Loads limits{.of_item = loads,
                       .limit = std::max(wanted, largest_load(loads, starts[0], table.part_count))};
    starts.push_back(demand_assignment(table));
    for (std::uint64_t i = 0; i < problem_.effort; ++i) {
      starts.push_back(starts[0]);
      shuffle(std::span(starts.back()), random_);
    }
    return search_partition(table, limits, starts, {.iterations = 1000 * problem_.effort, .stale = 200},
                            random_);
  }

  const Problem& problem_;
  const Topology& topology_;
  std::size_t experts_;
  std::vector<std::int64_t> loads_;
  double mean_ = 0;
  Pcg32 random_;
};

class Moesaic final : public Algorithm {
 public:
  std::string_view name() const override { return "moesaic"; }
  std::string_view summary() const override {
    return "fewest copies for the given homes, under exact slots and load limits: partitions experts by tabu "
           "search on the exact objective";
  }
  std::string_view source() const override {
    return "this project; hypergraph partitioning with fixed vertices (docs/algorithms/moesaic.md)";
  }
  bool needs_tokens() const override { return true; }

  Result<Solution> place(const Problem& problem) const override {
    const std::size_t per_layer = problem.topology.gpus() * problem.slots_per_gpu;
    if (per_layer != problem.demand.shape().experts) {
      return bad_input(
          fmt::format("--algorithm moesaic: {} slots for {} experts; it places without replicas, "
                      "ask for as many slots as experts",
                      per_layer, problem.demand.shape().experts));
    }
    return fill(problem, [&](std::size_t row, std::span<ExpertId> slots) -> Status {
      const ModelShape& shape = problem.demand.shape();
      MOESAIC_ASSIGN(const LayerDemand layer, problem.demand.layer(row));
      const PatternTable sources =
          token_patterns(layer.view(shape.layers[row], shape.top_k), problem.topology,
                         problem.objective.attention, shape.experts, {.max_tokens = kSearchTokens});
      LayerPlan(problem, row).place(sources, slots);
      return {};
    });
  }
};

}  // namespace

const Algorithm& moesaic() {
  static const Moesaic algorithm;
  return algorithm;
}

}  // namespace moesaic::placement
