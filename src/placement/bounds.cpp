#include "placement/bounds.hpp"

#include <algorithm>
#include <functional>
#include <numeric>

#include "core/check.hpp"
#include "solve/transport.hpp"

namespace moesaic::placement {

std::int64_t row_copies_bound(const PatternTable& nodes, std::size_t classes, std::size_t node_slots) {
  const std::size_t parts = nodes.part_count, experts = nodes.item_count / classes;
  MOESAIC_CHECK(parts * node_slots >= experts);
  std::vector<std::int64_t> kept(experts * parts);  // rows that stay when the node holds the expert
  std::int64_t rows = 0;
  for (std::size_t pattern = 0; pattern < nodes.size(); ++pattern) {
    for (const std::uint32_t item : nodes.items_of(pattern)) {
      kept[item / classes * parts + nodes.home[pattern]] += nodes.weight[pattern];
      rows += nodes.weight[pattern];
    }
  }
  if (parts * node_slots == experts) {
    for (std::int64_t& cost : kept) cost = -cost;
    const std::vector<std::int64_t> capacities(parts, static_cast<std::int64_t>(node_slots));
    const auto best = solve::transport(
        {.items = experts, .bins = parts, .costs = kept, .capacities = capacities, .prices = {}});
    MOESAIC_CHECK(best.has_value());  // the slots hold every expert
    return rows + best->cost;
  }
  std::vector<std::int64_t> wanted(experts);
  for (std::size_t node = 0; node < parts; ++node) {
    for (std::size_t e = 0; e < experts; ++e) wanted[e] = kept[e * parts + node];
    std::ranges::sort(wanted, std::greater{});
    const std::size_t held = std::min(node_slots, experts);
    rows -=
        std::accumulate(wanted.begin(), wanted.begin() + static_cast<std::ptrdiff_t>(held), std::int64_t{0});
  }
  return rows;
}

}  // namespace moesaic::placement
