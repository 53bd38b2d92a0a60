#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "placement/algorithms.hpp"
#include "placement/fill.hpp"
#include "placement/moesaic_layer.hpp"
#include "placement/transfers.hpp"

namespace moesaic::placement {
namespace {

class Moesaic final : public Algorithm {
 public:
  std::string_view name() const override { return "moesaic"; }
  std::string_view summary() const override {
    return "fewest copies for the given homes under slots and load limits: tabu search on the exact "
           "objective, replicas by marginal gain";
  }
  std::string_view source() const override {
    return "this project; hypergraph partitioning with fixed vertices (docs/algorithms/moesaic.md)";
  }
  bool needs_tokens() const override { return true; }
  bool keeps_pins() const override { return true; }
  bool weighs_tokens() const override { return true; }
  bool shares_imbalance() const override { return true; }

  Result<Solution> place(const Problem& problem) const override {
    if (problem.from != nullptr) MOESAIC_TRY(running_placement(problem));
    std::vector<RowCopies> layers(problem.demand.shape().layers.size());
    std::vector<std::uint16_t> nodes;
    if (shares_budget(problem)) {
      MOESAIC_ASSIGN(nodes, choose_nodes(problem));
    }
    const auto nodes_of = [&](std::size_t row) {
      const std::size_t experts = problem.demand.shape().experts;
      return nodes.empty() ? std::span<const std::uint16_t>()
                           : std::span(nodes).subspan(row * experts, experts);
    };
    MOESAIC_ASSIGN(Solution solution,
                   fill(problem, [&](std::size_t row, std::span<ExpertId> slots) -> Status {
                     MOESAIC_ASSIGN(const LayerDemand layer, problem.demand.layer(row));
                     layers[row] = place_layer(problem, row, layer, nodes_of(row), slots);
                     return {};
                   }));
    RowCopies sum{.counted = !layers.empty()};
    MOESAIC_TRY(sum_up(layers, problem.share, sum));
    judge(sum, problem.topology, solution);
    return solution;
  }

 private:
  /// Node of every expert, [L, E], under the budget that all layers share.
  static Result<std::vector<std::uint16_t>> choose_nodes(const Problem& problem) {
    constexpr std::size_t kSteps = PartitionFront::kSteps;
    constexpr double kUnit = 0x1p30;
    const std::size_t layers = problem.demand.shape().layers.size();
    const std::size_t points = layers * kSteps;
    std::vector<LayerFront> fronts(layers);
    // For every layer and step 1 + copies (0: none met) and the imbalance in units, then the most even
    // assignments': what ranks add up.
    std::vector<std::int64_t> figures(2 * points + layers);
    const Status mine = each_layer(problem, [&](std::size_t row) -> Status {
      MOESAIC_ASSIGN(const LayerDemand layer, problem.demand.layer(row));
      LayerFront& front = fronts[row] = layer_front(problem, row, layer);
      for (std::size_t s = 0; s < kSteps; ++s) {
        figures[row * kSteps + s] = 1 + front.copies[s];
        figures[points + row * kSteps + s] = std::llround(front.imbalance[s] * kUnit);
      }
      figures[2 * points + row] = std::llround(front.evenest * kUnit);
      return {};
    });
    MOESAIC_TRY(add_up(problem.share, figures, mine));
    std::vector<double> imbalance(points);
    double evenest = 0;
    for (std::size_t i = 0; i < points; ++i) {
      --figures[i];
      imbalance[i] = static_cast<double>(figures[points + i]) / kUnit;
    }
    for (const std::int64_t of_layer : std::span(figures).subspan(2 * points)) {
      evenest += static_cast<double>(of_layer) / kUnit / static_cast<double>(layers);
    }
    const double budget = problem.mean_imbalance > 0 ? problem.mean_imbalance : kImbalanceBudget * evenest;
    const std::vector<std::size_t> chosen = share_budget(std::span(figures).first(points), imbalance, budget);
    // The next pass may have other layers on this rank.
    const std::size_t experts = problem.demand.shape().experts;
    std::vector<std::int64_t> told(layers * experts);
    for (std::size_t row = 0; row < layers; ++row) {
      if (!fronts[row].copies.empty())
        std::ranges::copy(fronts[row].node_of_expert[chosen[row]], &told[row * experts]);
    }
    MOESAIC_TRY(add_up(problem.share, told, {}));
    std::vector<std::uint16_t> nodes;
    for (const std::int64_t node : told) nodes.push_back(static_cast<std::uint16_t>(node));
    return nodes;
  }

  /// Adds element by element over the ranks, where there are several.
  static Status add_up(const LayerShare* share, std::span<std::int64_t> values, const Status& mine) {
    return share != nullptr ? share->sum(values, mine) : mine;
  }

  static Status sum_up(std::span<const RowCopies> layers, const LayerShare* share, RowCopies& sum) {
    std::int64_t sums[4] = {};  // layers not counted, layers thinned, copies found, bound
    for (std::size_t row = 0; row < layers.size(); ++row) {
      if (share != nullptr && !share->mine(row)) continue;
      sums[0] += layers[row].counted ? 0 : 1;
      sums[1] += layers[row].thinned ? 1 : 0;
      sums[2] += layers[row].found;
      sums[3] += layers[row].bound;
    }
    MOESAIC_TRY(add_up(share, sums, {}));
    sum.counted = sum.counted && sums[0] == 0;
    sum.thinned = sums[1] > 0;
    sum.found = sums[2];
    sum.bound = sums[3];
    return {};
  }

  /// Where rows are counted the answer stands beside a bound, and may be proven by it.
  static void judge(const RowCopies& sum, const Topology& topology, Solution& solution) {
    if (!sum.counted) return;
    const bool proven = sum.found == sum.bound && !sum.thinned;
    // GPU copies inside a node have no bound.
    if (proven && topology.gpus_per_node == 1) solution.proof = Proof::kProven;
    solution.notes.push_back(fmt::format(
        "{} row copies between nodes on {} planning tokens; no placement with these slots sends fewer than "
        "{}, load limits aside: {}.",
        sum.found, sum.thinned ? "the searched" : "all", sum.bound,
        proven ? "proven least"
               : fmt::format("gap {:.2f} %", 100.0 * static_cast<double>(sum.found - sum.bound) /
                                                 static_cast<double>(std::max<std::int64_t>(1, sum.bound)))));
  }
};

}  // namespace

const Algorithm& moesaic() {
  static const Moesaic algorithm;
  return algorithm;
}

}  // namespace moesaic::placement
