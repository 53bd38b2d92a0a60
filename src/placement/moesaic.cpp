#include "placement/algorithms.hpp"
#include "placement/fill.hpp"
#include "placement/moesaic_layer.hpp"

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
    return fill(problem, [&](std::size_t row, std::span<ExpertId> slots) -> Status {
      MOESAIC_ASSIGN(const LayerDemand layer, problem.demand.layer(row));
      place_layer(problem, row, layer, slots);
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
