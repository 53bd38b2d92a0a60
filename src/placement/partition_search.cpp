#include "placement/partition_search.hpp"

#include <algorithm>
#include <limits>
#include <numeric>

#include "core/check.hpp"

namespace moesaic::placement {
namespace {

std::vector<std::int64_t> part_loads(std::span<const std::int64_t> load_of_item,
                                     std::span<const std::uint16_t> part_of_item, std::size_t parts) {
  std::vector<std::int64_t> loads(parts);
  for (std::size_t e = 0; e < part_of_item.size(); ++e) loads[part_of_item[e]] += load_of_item[e];
  return loads;
}

/// A fixed item rests for good, and not even a best assignment moves it.
constexpr std::size_t kForever = std::numeric_limits<std::size_t>::max();

/// The walk of one start.
class Tabu {
 public:
  Tabu(Partition& partition, const Loads& loads, const SearchOptions& options, Pcg32& random)
      : partition_(partition),
        loads_(loads),
        options_(options),
        random_(random),
        part_load_(part_loads(loads.of_item, partition.assignment(), partition.parts())),
        rests_until_(partition.items()) {
    const std::int64_t rows = std::accumulate(loads.of_item.begin(), loads.of_item.end(), std::int64_t{0});
    // A unit of excess starts at the price of a copy a row.
    price_ = rows > 0 ? 2.0 * static_cast<double>(partition.cost() + 1) / static_cast<double>(rows) : 0;
    for (std::size_t e = 0; e < options.fixed.size(); ++e) {
      if (options.fixed[e] != kFree) rests_until_[e] = kForever;
    }
    record();
  }

  std::size_t run() {
    std::size_t swaps = 0;
    for (std::size_t since = 0; swaps < options_.iterations && since < options_.stale; ++swaps, ++since) {
      const Swap best = choose(swaps);
      if (best.e == best.f) break;
      apply(best, swaps);
      if (record()) since = 0;
    }
    return swaps;
  }

  std::int64_t best_excess() const { return best_excess_; }
  std::int64_t best_cost() const { return best_cost_; }
  const std::vector<std::uint16_t>& best() const { return best_; }

 private:
  struct Swap {
    std::size_t e = 0, f = 0;
    double score = std::numeric_limits<double>::infinity();
  };

  std::int64_t over(std::int64_t load) const { return std::max<std::int64_t>(0, load - loads_.limit); }

  Swap choose(std::size_t now) const {
    Swap best;
    const std::size_t items = partition_.items();
    std::int64_t excess_now = 0;
    for (const std::int64_t load : part_load_) excess_now += over(load);
    for (std::size_t e = 0; e < items; ++e) {
      const std::size_t a = partition_.part(e);
      for (std::size_t f = e + 1; f < items; ++f) {
        const std::size_t b = partition_.part(f);
        if (a == b) continue;
        const std::int64_t shift = loads_.of_item[e] - loads_.of_item[f];
        const std::int64_t more = over(part_load_[a] - shift) + over(part_load_[b] + shift) -
                                  over(part_load_[a]) - over(part_load_[b]);
        const std::int64_t delta = partition_.swap_delta(e, f);
        const double score = static_cast<double>(delta) + price_ * static_cast<double>(more);
        if (score >= best.score) continue;
        if (rests_until_[e] > now || rests_until_[f] > now) {
          if (rests_until_[e] == kForever || rests_until_[f] == kForever) continue;
          const bool aspires = excess_now + more <= best_excess_ &&
                               (excess_now + more < best_excess_ || partition_.cost() + delta < best_cost_);
          if (!aspires) continue;
        }
        best = {e, f, score};
      }
    }
    return best;
  }

  void apply(const Swap& swap, std::size_t now) {
    const std::int64_t shift = loads_.of_item[swap.e] - loads_.of_item[swap.f];
    part_load_[partition_.part(swap.e)] -= shift;
    part_load_[partition_.part(swap.f)] += shift;
    partition_.swap(swap.e, swap.f);
    const auto rest = static_cast<std::uint32_t>(std::max<std::size_t>(1, partition_.items() / 8));
    rests_until_[swap.e] = now + 1 + rest + random_.below(rest + 1);
    rests_until_[swap.f] = now + 1 + rest / 2 + random_.below(rest + 1);
  }

  /// Remembers where the walk is if it is the best yet, and adapts the price of excess.
  bool record() {
    if (options_.front != nullptr)
      options_.front->offer(partition_.cost(), part_load_, partition_.assignment());
    std::int64_t excess_now = 0;
    for (const std::int64_t load : part_load_) excess_now += over(load);
    inside_ = (excess_now == 0) ? std::max(inside_, 0) + 1 : std::min(inside_, 0) - 1;
    if (inside_ % 4 == 0 && inside_ != 0) price_ *= inside_ > 0 ? 0.8 : 1.25;
    if (excess_now > best_excess_ || (excess_now == best_excess_ && partition_.cost() >= best_cost_))
      return false;
    best_excess_ = excess_now;
    best_cost_ = partition_.cost();
    best_.assign(partition_.assignment().begin(), partition_.assignment().end());
    return true;
  }

  Partition& partition_;
  const Loads& loads_;
  const SearchOptions& options_;
  Pcg32& random_;
  std::vector<std::int64_t> part_load_;
  std::vector<std::size_t> rests_until_;
  double price_ = 0;
  int inside_ = 0;  ///< > 0: steps inside the limits, < 0: steps outside
  std::int64_t best_excess_ = std::numeric_limits<std::int64_t>::max(), best_cost_ = best_excess_;
  std::vector<std::uint16_t> best_;
};

}  // namespace

std::int64_t excess(const Loads& loads, std::span<const std::uint16_t> part_of_item, std::size_t parts) {
  std::int64_t sum = 0;
  for (const std::int64_t load : part_loads(loads.of_item, part_of_item, parts)) {
    sum += std::max<std::int64_t>(0, load - loads.limit);
  }
  return sum;
}

std::int64_t largest_load(std::span<const std::int64_t> load_of_item,
                          std::span<const std::uint16_t> part_of_item, std::size_t parts) {
  return std::ranges::max(part_loads(load_of_item, part_of_item, parts));
}

std::vector<std::uint16_t> balanced_assignment(std::span<const std::int64_t> load_of_item,
                                               std::size_t parts) {
  const std::size_t items = load_of_item.size();
  MOESAIC_CHECK(parts > 0 && items % parts == 0);
  std::vector<std::size_t> order(items), room(parts, items / parts);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order,
                           [&](std::size_t x, std::size_t y) { return load_of_item[x] > load_of_item[y]; });
  std::vector<std::uint16_t> part_of_item(items);
  std::vector<std::int64_t> load(parts);
  for (const std::size_t e : order) {
    std::size_t lightest = parts;
    for (std::size_t p = 0; p < parts; ++p) {
      if (room[p] > 0 && (lightest == parts || load[p] < load[lightest])) lightest = p;
    }
    part_of_item[e] = static_cast<std::uint16_t>(lightest);
    load[lightest] += load_of_item[e];
    --room[lightest];
  }
  while (true) {
    const std::size_t top = static_cast<std::size_t>(std::ranges::max_element(load) - load.begin());
    std::size_t best_e = 0, best_f = 0;
    std::int64_t best = load[top];
    for (std::size_t e = 0; e < items; ++e) {
      if (part_of_item[e] != top) continue;
      for (std::size_t f = 0; f < items; ++f) {
        const std::int64_t shift = load_of_item[e] - load_of_item[f];
        if (part_of_item[f] == top || shift <= 0) continue;
        const std::int64_t worse = std::max(load[top] - shift, load[part_of_item[f]] + shift);
        if (worse < best) best = worse, best_e = e, best_f = f;
      }
    }
    if (best_e == best_f) return part_of_item;
    const std::int64_t shift = load_of_item[best_e] - load_of_item[best_f];
    load[top] -= shift;
    load[part_of_item[best_f]] += shift;
    std::swap(part_of_item[best_e], part_of_item[best_f]);
  }
}

std::vector<std::uint16_t> demand_assignment(const PatternTable& table, std::size_t capacity) {
  const std::size_t items = table.item_count, parts = table.part_count;
  MOESAIC_CHECK(parts * capacity >= items);
  std::vector<std::int64_t> demand(items * parts);
  for (std::size_t pattern = 0; pattern < table.size(); ++pattern) {
    for (const std::uint32_t item : table.items_of(pattern)) {
      demand[item * parts + table.home[pattern]] += table.weight[pattern];
    }
  }
  std::vector<std::size_t> order(items * parts), room(parts, capacity);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, [&](std::size_t x, std::size_t y) { return demand[x] > demand[y]; });
  constexpr std::uint16_t kNone = 0xFFFF;
  std::vector<std::uint16_t> part_of_item(items, kNone);
  for (const std::size_t pair : order) {
    const std::size_t item = pair / parts, part = pair % parts;
    if (part_of_item[item] != kNone || room[part] == 0) continue;
    part_of_item[item] = static_cast<std::uint16_t>(part);
    --room[part];
  }
  return part_of_item;
}

std::vector<std::uint16_t> search_partition(const PatternTable& table, const Loads& loads,
                                            std::span<const std::vector<std::uint16_t>> starts,
                                            const SearchOptions& options, Pcg32& random, SearchStats* stats) {
  MOESAIC_CHECK(!starts.empty() && loads.of_item.size() == table.item_count);
  Partition partition(table, starts[0]);
  std::vector<std::uint16_t> best;
  std::int64_t best_excess = 0, best_cost = 0;
  for (const std::vector<std::uint16_t>& start : starts) {
    partition.assign(start);
    Tabu walk(partition, loads, options, random);
    const std::size_t swaps = walk.run();
    if (stats != nullptr) stats->swaps += swaps, ++stats->starts;
    if (best.empty() || walk.best_excess() < best_excess ||
        (walk.best_excess() == best_excess && walk.best_cost() < best_cost)) {
      best = walk.best(), best_excess = walk.best_excess(), best_cost = walk.best_cost();
    }
  }
  return best;
}

}  // namespace moesaic::placement
