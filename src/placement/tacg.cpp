#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "placement/algorithms.hpp"
#include "placement/coactivation.hpp"
#include "placement/fill.hpp"
#include "placement/preference.hpp"
#include "solve/transport.hpp"

namespace moesaic::placement {
namespace {

/// What a layer's families (task domains) say, in arXiv:2606.01007's words. What the abstract leaves open is
/// filled in as docs/algorithms/tacg.md says.
struct Families {
  std::vector<std::vector<std::int64_t>> together;  ///< [F] of [E, E]
  std::vector<std::vector<double>> preference;      ///< [F] of [E]: share of the expert's rows in the family
};

Families families_of(const LayerDemand& layer, std::span<const std::uint32_t> domains, std::size_t k,
                     std::size_t experts) {
  std::map<std::uint32_t, std::size_t> number;  // of a domain code
  for (const std::uint32_t domain : domains) number.emplace(domain, 0);
  std::size_t next = 0;
  for (auto& [domain, n] : number) n = next++;
  const std::size_t count = std::max<std::size_t>(1, next);
  std::vector<std::vector<ExpertId>> tokens(count);
  for (std::size_t s = 0; s < layer.segments.size(); ++s) {
    const traffic::Segment& segment = layer.segments[s];
    const auto part = std::span(layer.experts).subspan(segment.begin * k, segment.count * k);
    std::vector<ExpertId>& mine = tokens[domains.empty() ? 0 : number.at(domains[s])];
    mine.insert(mine.end(), part.begin(), part.end());
  }
  Families families;
  std::vector<double> rows(experts);
  for (std::size_t f = 0; f < count; ++f) {
    families.together.push_back(coactivation(tokens[f], k, experts));
    std::vector<double> mine(experts);
    for (const ExpertId e : tokens[f]) {
      if (e != kMissingExpert) ++mine[index(e)], ++rows[index(e)];
    }
    families.preference.push_back(std::move(mine));
  }
  for (std::vector<double>& mine : families.preference) {
    for (std::size_t e = 0; e < experts; ++e) mine[e] = rows[e] > 0 ? mine[e] / rows[e] : 0;
  }
  return families;
}

/// W = sum over families of F sqrt(pi_e pi_e') C_f: a pair that fires within the family both prefer counts
/// up to F times, experts without preference (pi = 1/F) keep their plain co-activation.
std::vector<std::int64_t> reweighted(const Families& families, std::size_t experts) {
  constexpr double kUnit = 256;  // integer weights keep ties and sums exact
  const auto count = static_cast<double>(families.together.size());
  std::vector<std::int64_t> weight(experts * experts);
  for (std::size_t e = 0; e < experts; ++e) {
    for (std::size_t g = 0; g < experts; ++g) {
      double sum = 0;
      for (std::size_t f = 0; f < families.together.size(); ++f) {
        sum += count * std::sqrt(families.preference[f][e] * families.preference[f][g]) *
               static_cast<double>(families.together[f][e * experts + g]);
      }
      weight[e * experts + g] = std::llround(sum * kUnit);
    }
  }
  return weight;
}

/// Groups of experts to the nodes whose own tokens want them most, one group a node: the families' primary
/// locations. Exact (a transport problem).
Status match_to_nodes(const Problem& problem, const traffic::LayerTokens& tokens, std::size_t experts,
                      std::span<std::uint32_t> node_of) {
  const std::size_t nodes = problem.topology.nodes;
  const std::vector<std::int64_t> wanted = rows_by_node(
      rows_by_gpu(tokens, problem.topology, problem.objective.attention, experts), problem.topology, experts);
  std::vector<std::int64_t> costs(nodes * nodes);  // [groups, nodes]
  for (std::size_t e = 0; e < experts; ++e) {
    for (std::size_t node = 0; node < nodes; ++node)
      costs[node_of[e] * nodes + node] -= wanted[node * experts + e];
  }
  const std::vector<std::int64_t> one_each(nodes, 1);
  MOESAIC_ASSIGN(const solve::TransportResult match,
                 solve::transport(
                     {.items = nodes, .bins = nodes, .costs = costs, .capacities = one_each, .prices = {}}));
  for (std::uint32_t& node : node_of) node = match.bin_of_item[node];
  return {};
}

/// GESR: an expert is as generic as its weakest family says: the least, over families, of its co-activation
/// degree in units of the family's mean degree.
std::vector<double> centrality(const Families& families, std::size_t experts) {
  std::vector<double> least(experts, std::numeric_limits<double>::infinity());
  for (const std::vector<std::int64_t>& together : families.together) {
    std::vector<double> degree(experts);
    for (std::size_t e = 0; e < experts; ++e) {
      for (std::size_t g = 0; g < experts; ++g) degree[e] += static_cast<double>(together[e * experts + g]);
    }
    const double mean = std::accumulate(degree.begin(), degree.end(), 0.0) / static_cast<double>(experts);
    for (std::size_t e = 0; e < experts; ++e)
      least[e] = std::min(least[e], mean > 0 ? degree[e] / mean : 0.0);
  }
  return least;
}

class Tacg final : public Algorithm {
 public:
  std::string_view name() const override { return "tacg"; }
  std::string_view summary() const override {
    return "co-activation reweighted by task family, copies of experts that are central in every family";
  }
  std::string_view source() const override { return "arXiv:2606.01007 (2026), a reconstruction"; }
  bool needs_tokens() const override { return true; }

  Result<Solution> place(const Problem& problem) const override {
    const ModelShape& shape = problem.demand.shape();
    const std::span<const std::uint32_t> domains = problem.demand.domains();
    MOESAIC_ASSIGN(
        Solution solution, fill(problem, [&](std::size_t row, std::span<ExpertId> slots) -> Status {
          MOESAIC_ASSIGN(const LayerDemand layer, problem.demand.layer(row));
          const Families families = families_of(layer, domains, shape.top_k, shape.experts);
          const std::vector<float> loads = layer_loads(problem.demand, row);
          std::vector<std::uint32_t> node_of =
              grow_nodes(reweighted(families, shape.experts), loads, problem.topology.nodes);
          MOESAIC_TRY(
              match_to_nodes(problem, layer.view(shape.layers[row], shape.top_k), shape.experts, node_of));
          lay_out(problem, loads, node_of,
                  generic_copies(centrality(families, shape.experts), problem.topology.nodes, slots.size()),
                  slots);
          return {};
        }));
    if (domains.empty()) {
      solution.notes.push_back(
          "tacg: the trace has no domain labels, so all requests were one family (plain co-activation).");
    }
    return solution;
  }

 private:
  /// Extra slots to the most generic experts, one on every other node before the next expert has any; when
  /// all experts are everywhere, round again.
  static std::vector<std::size_t> generic_copies(std::span<const double> generic, std::size_t nodes,
                                                 std::size_t slots) {
    std::vector<std::size_t> order(generic.size()), copies(generic.size(), 1);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) { return generic[a] > generic[b]; });
    std::size_t left = slots - generic.size();
    for (std::size_t most = nodes; left > 0; most += nodes) {
      for (const std::size_t e : order) {
        for (; left > 0 && copies[e] < most; --left) ++copies[e];
      }
    }
    return copies;
  }
};

}  // namespace

const Algorithm& tacg() {
  static const Tacg algorithm;
  return algorithm;
}

}  // namespace moesaic::placement
