#include "solve/transport.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <numeric>

#include "core/check.hpp"

namespace moesaic::solve {
namespace {

constexpr std::int64_t kFar = std::numeric_limits<std::int64_t>::max();

/// An item and what it would cost to move it from its bin to another.
struct Move {
  std::int64_t cost = kFar;
  std::uint32_t item = 0;
  auto operator<=>(const Move&) const = default;
};

/// The cheapest move between every two bins. The heaps of a bin are made when a path first reaches it;
/// entries of items that have left are dropped when they surface (a move's cost never changes, so the
/// entry of an item that left and came back is right again).
class Moves {
 public:
  Moves(const TransportProblem& problem, const std::vector<std::uint32_t>& bin_of_item)
      : problem_(problem),
        bin_of_item_(bin_of_item),
        heaps_(problem.bins),
        cheapest_(problem.bins * problem.bins) {}

  /// [bins]: cheapest move from `bin` to each bin; cost kFar where there is none.
  const Move* from(std::size_t bin) {
    if (heaps_[bin].empty()) fill(bin);
    return &cheapest_[bin * problem_.bins];
  }

  /// Call after the items have their new bins.
  void left(std::size_t bin, std::uint32_t item) {
    if (heaps_[bin].empty()) return;
    for (std::size_t to = 0; to < problem_.bins; ++to) {
      if (cheapest_[bin * problem_.bins + to].item == item) settle(bin, to);
    }
  }
  void entered(std::size_t bin, std::uint32_t item) {
    if (heaps_[bin].empty()) return;
    for (std::size_t to = 0; to < problem_.bins; ++to) {
      if (to == bin) continue;
      const Move move = move_of(item, bin, to);
      auto& heap = heaps_[bin][to];
      heap.push_back(move);
      std::ranges::push_heap(heap, std::greater{});
      Move& best = cheapest_[bin * problem_.bins + to];
      best = std::min(best, move);
    }
  }

 private:
  Move move_of(std::uint32_t item, std::size_t from, std::size_t to) const {
    const std::int64_t* row = &problem_.costs[item * problem_.bins];
    return {row[to] - row[from], item};
  }

  void fill(std::size_t bin) {
    heaps_[bin].resize(problem_.bins);
    for (std::uint32_t item = 0; item < problem_.items; ++item) {
      if (bin_of_item_[item] != bin) continue;
      for (std::size_t to = 0; to < problem_.bins; ++to) {
        if (to != bin) heaps_[bin][to].push_back(move_of(item, bin, to));
      }
    }
    for (std::size_t to = 0; to < problem_.bins; ++to) {
      std::ranges::make_heap(heaps_[bin][to], std::greater{});
      settle(bin, to);
    }
  }

  void settle(std::size_t bin, std::size_t to) {
    auto& heap = heaps_[bin][to];
    while (!heap.empty() && bin_of_item_[heap.front().item] != bin) {
      std::ranges::pop_heap(heap, std::greater{});
      heap.pop_back();
    }
    cheapest_[bin * problem_.bins + to] = heap.empty() ? Move{} : heap.front();
  }

  const TransportProblem& problem_;
  const std::vector<std::uint32_t>& bin_of_item_;
  std::vector<std::vector<std::vector<Move>>> heaps_;  ///< [from][to]; empty until first needed
  std::vector<Move> cheapest_;                         ///< [from, to]
};

/// Bins and, as node `bins`, a sink that takes every item in the end. A bin of a price above the sink's
/// sends it its whole capacity, one of the sink's price what it holds; both the bins and the sink may at
/// first send more or less than they get. Paths run from nodes with too much to nodes with too little and
/// keep reduced lengths (length + price of the head - price of the tail) at 0 or more.
class Network {
 public:
  explicit Network(const TransportProblem& problem)
      : problem_(problem),
        bins_(problem.bins),
        bin_of_item_(problem.items),
        price_(bins_ + 1),
        excess_(bins_ + 1),
        sent_(bins_),
        capacity_(bins_),
        distance_(bins_ + 1),
        parent_(bins_ + 1),
        settled_(bins_ + 1),
        moves_(problem, bin_of_item_) {
    const auto items = static_cast<std::int64_t>(problem.items);
    if (!problem.prices.empty()) start_prices();
    for (std::size_t item = 0; item < problem.items; ++item) {
      const std::int64_t* cost = &problem.costs[item * bins_];
      std::size_t best = 0;
      for (std::size_t k = 1; k < bins_; ++k) {
        if (cost[k] + price_[k] < cost[best] + price_[best]) best = k;
      }
      bin_of_item_[item] = static_cast<std::uint32_t>(best);
      ++excess_[best];
    }
    excess_[bins_] = -items;
    for (std::size_t k = 0; k < bins_; ++k) {
      capacity_[k] = std::min(problem.capacities[k], items);
      send(k, price_[k] > 0 ? capacity_[k] : std::min(excess_[k], capacity_[k]));
    }
  }

  TransportResult solve(TransportStats& stats) {
    for (std::size_t end = shortest_path(); end <= bins_; end = shortest_path()) {
      push(end, stats);
      ++stats.paths;
    }
    TransportResult result{.bin_of_item = std::move(bin_of_item_), .prices = std::move(price_)};
    const std::int64_t sink_price = result.prices[bins_];
    result.prices.resize(bins_);
    // A bin may end below the sink's price only when it is empty; raising it moves no item.
    for (std::int64_t& price : result.prices) price = std::max<std::int64_t>(0, price - sink_price);
    for (std::size_t item = 0; item < problem_.items; ++item) {
      result.cost += problem_.costs[item * bins_ + result.bin_of_item[item]];
    }
    return result;
  }

 private:
  /// Given prices, lowered to start at 0 and capped where no optimal price can be higher.
  void start_prices() {
    const auto [low, high] = std::ranges::minmax(
        problem_.costs.empty() ? std::span<const std::int64_t>(&kZero, 1) : problem_.costs);
    const std::int64_t cap = (high - low) * static_cast<std::int64_t>(bins_);
    const std::int64_t lowest = std::ranges::min(problem_.prices);
    for (std::size_t k = 0; k < bins_; ++k) {
      const auto above = static_cast<std::uint64_t>(problem_.prices[k]) - static_cast<std::uint64_t>(lowest);
      price_[k] = static_cast<std::int64_t>(std::min(above, static_cast<std::uint64_t>(cap)));
    }
  }

  void send(std::size_t bin, std::int64_t units) {
    sent_[bin] += units;
    excess_[bin] -= units;
    excess_[bins_] += units;
  }

  void relax(std::size_t from, std::size_t to, std::int64_t length) {
    const std::int64_t distance = distance_[from] + length + price_[to] - price_[from];
    if (distance < distance_[to]) {
      distance_[to] = distance;
      parent_[to] = from;
    }
  }

  /// The nearest node that is not settled. REQUIRES: one can be reached.
  std::size_t closest_open() const {
    std::size_t nearest = bins_ + 1;
    for (std::size_t v = 0; v <= bins_; ++v) {
      if (settled_[v] == 0 && distance_[v] != kFar &&
          (nearest > bins_ || distance_[v] < distance_[nearest])) {
        nearest = v;
      }
    }
    MOESAIC_CHECK(nearest <= bins_);
    return nearest;
  }

  /// Dijkstra from all nodes with too much to the nearest with too little; raises the prices of the nodes
  /// before it. Returns that node, or bins + 1 when all nodes are even.
  std::size_t shortest_path() {
    bool any = false;
    for (std::size_t v = 0; v <= bins_; ++v) {
      const bool source = excess_[v] > 0;
      any = any || source;
      distance_[v] = source ? 0 : kFar;
      parent_[v] = v;
      settled_[v] = 0;
    }
    if (!any) return bins_ + 1;
    std::size_t nearest = closest_open();
    while (excess_[nearest] >= 0) {
      settled_[nearest] = 1;
      leave(nearest);
      nearest = closest_open();
    }
    for (std::size_t v = 0; v <= bins_; ++v) {
      if (settled_[v] != 0) price_[v] += distance_[nearest] - distance_[v];
    }
    return nearest;
  }

  void leave(std::size_t v) {
    if (v == bins_) {
      for (std::size_t k = 0; k < bins_; ++k) {
        if (sent_[k] > 0) relax(v, k, 0);
      }
      return;
    }
    const Move* moves = moves_.from(v);
    for (std::size_t k = 0; k < bins_; ++k) {
      if (moves[k].cost != kFar) relax(v, k, moves[k].cost);
    }
    if (sent_[v] < capacity_[v]) relax(v, bins_, 0);
  }

  void push(std::size_t end, TransportStats& stats) {
    path_.clear();
    bool moves_items = false;
    std::size_t start = end;
    for (; parent_[start] != start; start = parent_[start]) {
      const std::size_t from = parent_[start];
      Step step{from, start, 0};
      if (from != bins_ && start != bins_) {
        step.item = moves_.from(from)[start].item;
        moves_items = true;
      }
      path_.push_back(step);
    }
    std::int64_t units = moves_items ? 1 : std::min(excess_[start], -excess_[end]);
    for (const Step& step : path_) {
      if (step.from == bins_) units = std::min(units, sent_[step.to]);
      if (step.to == bins_) units = std::min(units, capacity_[step.from] - sent_[step.from]);
    }
    for (const Step& step : path_) {
      if (step.from == bins_) {
        send(step.to, -units);
      } else if (step.to == bins_) {
        send(step.from, units);
      } else {
        bin_of_item_[step.item] = static_cast<std::uint32_t>(step.to);
        --excess_[step.from];
        ++excess_[step.to];
        ++stats.moves;
      }
    }
    for (const Step& step : path_) {
      if (step.from == bins_ || step.to == bins_) continue;
      moves_.left(step.from, step.item);
      moves_.entered(step.to, step.item);
    }
  }

  struct Step {
    std::size_t from, to;
    std::uint32_t item;
  };
  static constexpr std::int64_t kZero = 0;

  const TransportProblem& problem_;
  std::size_t bins_;
  std::vector<std::uint32_t> bin_of_item_;
  std::vector<std::int64_t> price_, excess_;   ///< [bins + sink]
  std::vector<std::int64_t> sent_, capacity_;  ///< [bins]
  std::vector<std::int64_t> distance_;         ///< [bins + sink]
  std::vector<std::size_t> parent_;
  std::vector<std::uint8_t> settled_;
  std::vector<Step> path_;
  Moves moves_;
};

}  // namespace

Result<TransportResult> transport(const TransportProblem& problem, TransportStats* stats) {
  const std::size_t bins = problem.bins;
  MOESAIC_CHECK(bins >= 1 && bins <= kMaxBins);
  MOESAIC_CHECK(problem.items < std::numeric_limits<std::uint32_t>::max());
  MOESAIC_CHECK(problem.costs.size() == problem.items * bins && problem.capacities.size() == bins);
  MOESAIC_CHECK(problem.prices.empty() || problem.prices.size() == bins);
  MOESAIC_CHECK(std::ranges::all_of(problem.costs, [](auto c) { return c >= -kMaxCost && c <= kMaxCost; }));
  MOESAIC_CHECK(std::ranges::all_of(problem.capacities, [](auto c) { return c >= 0; }));
  std::uint64_t room = 0;
  for (const std::int64_t capacity : problem.capacities) {
    room += std::min<std::uint64_t>(static_cast<std::uint64_t>(capacity), problem.items);
  }
  if (room < problem.items) {
    return answer_no(
        fmt::format("{} items do not fit into {} bins whose capacities add up to {}; raise the "
                    "capacities.",
                    problem.items, bins, room));
  }
  TransportStats own;
  return Network(problem).solve(stats != nullptr ? *stats : own);
}

}  // namespace moesaic::solve
