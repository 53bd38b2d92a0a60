#include <fmt/format.h>

#include <algorithm>

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

  Result<Solution> place(const Problem& problem) const override {
    if (problem.from != nullptr) MOESAIC_TRY(running_placement(problem));
    std::vector<RowCopies> layers(problem.demand.shape().layers.size());
    MOESAIC_ASSIGN(Solution solution,
                   fill(problem, [&](std::size_t row, std::span<ExpertId> slots) -> Status {
                     MOESAIC_ASSIGN(const LayerDemand layer, problem.demand.layer(row));
                     layers[row] = place_layer(problem, row, layer, slots);
                     return {};
                   }));
    RowCopies sum{.counted = !layers.empty()};
    MOESAIC_TRY(add_up(layers, problem.share, sum));
    judge(sum, problem.topology, solution);
    return solution;
  }

 private:
  static Status add_up(std::span<const RowCopies> layers, const LayerShare* share, RowCopies& sum) {
    std::int64_t sums[4] = {};  // layers not counted, layers thinned, copies found, bound
    for (std::size_t row = 0; row < layers.size(); ++row) {
      if (share != nullptr && !share->mine(row)) continue;
      sums[0] += layers[row].counted ? 0 : 1;
      sums[1] += layers[row].thinned ? 1 : 0;
      sums[2] += layers[row].found;
      sums[3] += layers[row].bound;
    }
    if (share != nullptr) MOESAIC_TRY(share->sum(sums, {}));
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
