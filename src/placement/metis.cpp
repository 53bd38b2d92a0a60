#include <metis.h>

#include <algorithm>
#include <limits>
#include <mutex>

#include "placement/algorithms.hpp"
#include "placement/coactivation.hpp"
#include "placement/fill.hpp"
#include "placement/trtllm.hpp"

namespace moesaic::placement {
namespace {

constexpr std::int64_t kLargestWeight = 1'000'000;  // keeps METIS's 32-bit sums far from overflow

/// METIS's k-way partition of the co-activation graph, loads as vertex weights.
Result<std::vector<idx_t>> partition_graph(std::span<const std::int64_t> together,
                                           std::span<const float> loads, std::size_t parts,
                                           std::uint64_t seed) {
  const std::size_t experts = loads.size();
  const std::int64_t largest = std::max<std::int64_t>(1, std::ranges::max(together));
  const float hottest = std::max(1e-30F, std::ranges::max(loads));
  std::vector<idx_t> start = {0}, neighbour, edge, weight;
  for (std::size_t e = 0; e < experts; ++e) {
    for (std::size_t f = 0; f < experts; ++f) {
      const std::int64_t count = together[e * experts + f];
      if (count == 0) continue;
      neighbour.push_back(static_cast<idx_t>(f));
      edge.push_back(static_cast<idx_t>(
          std::max<std::int64_t>(1, largest > kLargestWeight ? count * kLargestWeight / largest : count)));
    }
    start.push_back(static_cast<idx_t>(neighbour.size()));
    weight.push_back(1 + static_cast<idx_t>(loads[e] / hottest * 10'000));
  }
  idx_t options[METIS_NOPTIONS];
  METIS_SetDefaultOptions(options);
  options[METIS_OPTION_SEED] = static_cast<idx_t>(seed & 0x7FFFFFFF);
  options[METIS_OPTION_NCUTS] = 4;
  auto vertices = static_cast<idx_t>(experts), constraints = idx_t{1}, count = static_cast<idx_t>(parts);
  idx_t cut = 0;
  // METIS draws from the C library's one generator, which it seeds on entry: one call at a time, or results
  // would depend on the threads.
  static std::mutex one_at_a_time;
  const std::lock_guard lock(one_at_a_time);
  std::vector<idx_t> part(experts);
  const int code =
      METIS_PartGraphKway(&vertices, &constraints, start.data(), neighbour.data(), weight.data(), nullptr,
                          edge.data(), &count, nullptr, nullptr, options, &cut, part.data());
  if (code != METIS_OK) {
    return environment_error("METIS could not partition the co-activation graph of a layer (code " +
                             std::to_string(code) + "); is there memory left?");
  }
  return part;
}

/// METIS balances weights, not counts: while a part holds more experts than its slots allow, the expert
/// that loses least by it moves to a part with room.
void repair(std::span<const std::int64_t> together, std::size_t capacity, std::vector<std::uint32_t>& part,
            std::size_t parts) {
  const std::size_t experts = part.size();
  std::vector<std::size_t> held(parts);
  for (const std::uint32_t p : part) ++held[p];
  while (true) {
    const std::size_t full = static_cast<std::size_t>(std::ranges::max_element(held) - held.begin());
    if (held[full] <= capacity) return;
    std::int64_t best = std::numeric_limits<std::int64_t>::max();
    std::size_t mover = 0, target = 0;
    for (std::size_t e = 0; e < experts; ++e) {
      if (part[e] != full) continue;
      std::vector<std::int64_t> pull(parts);
      for (std::size_t f = 0; f < experts; ++f) pull[part[f]] += together[e * experts + f];
      for (std::size_t p = 0; p < parts; ++p) {
        if (held[p] < capacity && pull[full] - pull[p] < best)
          best = pull[full] - pull[p], mover = e, target = p;
      }
    }
    part[mover] = static_cast<std::uint32_t>(target);
    --held[full];
    ++held[target];
  }
}

class Metis final : public Algorithm {
 public:
  std::string_view name() const override { return "metis"; }
  std::string_view summary() const override {
    return "k-way cut of the co-activation graph over the nodes, loads as vertex weights";
  }
  std::string_view source() const override {
    return "Karypis and Kumar 1998, METIS 5.1, on pairwise co-activation";
  }
  bool needs_tokens() const override { return true; }

  Result<Solution> place(const Problem& problem) const override {
    const ModelShape& shape = problem.demand.shape();
    const std::size_t nodes = problem.topology.nodes;
    return fill(problem, [&](std::size_t row, std::span<ExpertId> slots) -> Status {
      MOESAIC_ASSIGN(const LayerDemand layer, problem.demand.layer(row));
      const std::vector<std::int64_t> together = coactivation(layer.experts, shape.top_k, shape.experts);
      const std::vector<float> loads = layer_loads(problem.demand, row);
      std::vector<std::uint32_t> node_of(shape.experts);
      if (nodes > 1) {
        MOESAIC_ASSIGN(const std::vector<idx_t> part, partition_graph(together, loads, nodes, problem.seed));
        std::ranges::transform(part, node_of.begin(), [](idx_t p) { return static_cast<std::uint32_t>(p); });
        repair(together, (shape.experts + nodes - 1) / nodes, node_of, nodes);
      }
      lay_out(problem, loads, node_of, trtllm::replicate(loads, slots.size()), slots);
      return {};
    });
  }
};

}  // namespace

const Algorithm& metis() {
  static const Metis algorithm;
  return algorithm;
}

}  // namespace moesaic::placement
