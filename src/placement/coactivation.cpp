#include "placement/coactivation.hpp"

#include <algorithm>
#include <numeric>

#include "core/check.hpp"

namespace moesaic::placement {

std::vector<std::int64_t> coactivation(std::span<const ExpertId> tokens, std::size_t k, std::size_t experts) {
  std::vector<std::int64_t> together(experts * experts);
  for (std::size_t first = 0; first < tokens.size(); first += k) {
    for (std::size_t i = first; i < first + k; ++i) {
      if (tokens[i] == kMissingExpert) continue;
      for (std::size_t j = first; j < first + k; ++j) {
        if (tokens[j] == kMissingExpert || tokens[j] == tokens[i]) continue;
        ++together[index(tokens[i]) * experts + index(tokens[j])];
      }
    }
  }
  return together;
}

std::vector<float> layer_loads(const Demand& demand, std::size_t row) {
  const std::size_t experts = demand.shape().experts;
  std::vector<float> loads(experts);
  std::ranges::transform(demand.loads().subspan(row * experts, experts), loads.begin(),
                         [](double load) { return static_cast<float>(load); });
  return loads;
}

void lay_out(const Problem& problem, std::span<const float> loads, std::span<const std::uint32_t> node_of,
             std::span<const std::size_t> copies, std::span<ExpertId> slots) {
  const std::size_t experts = loads.size(), nodes = problem.topology.nodes;
  const std::size_t gpus = problem.topology.gpus_per_node, per_gpu = problem.slots_per_gpu;
  const auto share = [&](std::size_t e) {
    return static_cast<double>(loads[e]) / static_cast<double>(copies[e]);
  };
  std::vector<std::vector<std::size_t>> held(nodes);
  std::vector<double> node_load(nodes);
  const auto put = [&](std::size_t e, std::size_t node) {
    held[node].push_back(e);
    node_load[node] += share(e);
  };
  std::vector<std::size_t> extra;
  for (std::size_t e = 0; e < experts; ++e) {
    put(e, node_of[e]);
    extra.insert(extra.end(), copies[e] - 1, e);
  }
  std::ranges::stable_sort(extra, [&](std::size_t a, std::size_t b) { return share(a) > share(b); });
  for (const std::size_t e : extra) {
    std::size_t best = nodes;
    const auto rank = [&](std::size_t node) {
      return std::pair(std::ranges::count(held[node], e), node_load[node]);
    };
    for (std::size_t node = 0; node < nodes; ++node) {
      if (held[node].size() < gpus * per_gpu && (best == nodes || rank(node) < rank(best))) best = node;
    }
    put(e, best);
  }
  for (std::size_t node = 0; node < nodes; ++node) {
    MOESAIC_CHECK(held[node].size() == gpus * per_gpu);
    std::ranges::stable_sort(held[node], [&](std::size_t a, std::size_t b) { return share(a) > share(b); });
    std::vector<std::size_t> used(gpus);
    std::vector<double> load(gpus);
    for (const std::size_t e : held[node]) {
      std::size_t best = gpus;
      const auto rank = [&](std::size_t g) {
        const auto there = slots.subspan((node * gpus + g) * per_gpu, used[g]);
        return std::pair(std::ranges::count(there, ExpertId(e)), load[g]);
      };
      for (std::size_t g = 0; g < gpus; ++g) {
        if (used[g] < per_gpu && (best == gpus || rank(g) < rank(best))) best = g;
      }
      slots[(node * gpus + best) * per_gpu + used[best]++] = ExpertId(e);
      load[best] += share(e);
    }
  }
}

}  // namespace moesaic::placement
