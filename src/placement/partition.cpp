#include "placement/partition.hpp"

#include <algorithm>

#include "core/check.hpp"

namespace moesaic::placement {

std::int64_t connectivity_cost(const PatternTable& table, std::span<const std::uint16_t> part_of_item) {
  std::int64_t cost = 0;
  std::vector<std::size_t> seen(table.part_count, ~std::size_t{0});
  for (std::size_t pattern = 0; pattern < table.size(); ++pattern) {
    for (const std::uint32_t item : table.items_of(pattern)) {
      const std::size_t part = part_of_item[item];
      if (part == table.home[pattern] || seen[part] == pattern) continue;
      seen[part] = pattern;
      cost += table.weight[pattern];
    }
  }
  return cost;
}

Partition::Partition(const PatternTable& table, std::span<const std::uint16_t> part_of_item, bool swaps)
    : table_(table),
      parts_(table.part_count),
      part_(part_of_item.begin(), part_of_item.end()),
      first_(table.item_count + 1),
      patterns_(table.items.size()),
      reach_(table.size() * parts_),
      freed_(table.item_count),
      entered_(table.item_count * parts_),
      alone_(swaps ? table.item_count * table.item_count : 0) {
  MOESAIC_CHECK(part_.size() == table.item_count);
  for (const std::uint32_t item : table.items) ++first_[item + 1u];
  for (std::size_t e = 0; e < items(); ++e) first_[e + 1] += first_[e];
  std::vector<std::uint32_t> next(first_.begin(), first_.end() - 1);
  std::int64_t total = 0;
  for (std::size_t pattern = 0; pattern < table.size(); ++pattern) {
    const auto members = table.items_of(pattern);
    MOESAIC_CHECK(members.size() <= 255);
    const auto weight = static_cast<std::int32_t>(table.weight[pattern]);
    total += weight;
    std::uint8_t* reach = &reach_[pattern * parts_];
    for (const std::uint32_t item : members) {
      MOESAIC_CHECK(part_[item] < parts_);
      patterns_[next[item]++] = static_cast<std::uint32_t>(pattern);
      ++reach[part_[item]];
    }
    for (std::size_t p = 0; p < parts_; ++p) {
      if (p == table.home[pattern]) continue;
      if (reach[p] != 0) {
        cost_ += weight;
        continue;
      }
      for (const std::uint32_t item : members) entered_[item * parts_ + p] += weight;
    }
    for (const std::uint32_t item : members) {
      if (reach[part_[item]] == 1 && part_[item] != table.home[pattern]) only(pattern, item, weight);
    }
  }
  MOESAIC_CHECK(total < (std::int64_t{1} << 31));
}

/// `item` is (weight > 0) or is no longer (< 0) the only one of its pattern on its part.
void Partition::only(std::size_t pattern, std::size_t item, std::int32_t weight) {
  freed_[item] += weight;
  if (alone_.empty()) return;
  std::int32_t* alone = &alone_[item * items()];
  for (const std::uint32_t other : table_.items_of(pattern)) alone[other] += weight;
}

void Partition::move(std::size_t item, std::size_t to) {
  const std::size_t from = part_[item];
  if (from == to) return;
  for (std::size_t i = first_[item]; i < first_[item + 1]; ++i) {
    const std::size_t pattern = patterns_[i], home = table_.home[pattern];
    const auto members = table_.items_of(pattern);
    const auto weight = static_cast<std::int32_t>(table_.weight[pattern]);
    std::uint8_t* reach = &reach_[pattern * parts_];
    const auto on = [&](std::size_t part) {  // the other item of the pattern on `part`
      return *std::ranges::find_if(members, [&](std::uint32_t m) { return m != item && part_[m] == part; });
    };
    const unsigned before_from = reach[from]--, before_to = reach[to]++;
    if (from != home) {
      if (before_from == 1) {
        cost_ -= weight;
        if (to == home || before_to != 0) only(pattern, item, -weight);  // else it stays alone, on `to`
        for (const std::uint32_t m : members) entered_[m * parts_ + from] += weight;
      } else if (before_from == 2) {
        only(pattern, on(from), weight);
      }
    }
    if (to != home) {
      if (before_to == 0) {
        cost_ += weight;
        if (from == home || before_from != 1) only(pattern, item, weight);
        for (const std::uint32_t m : members) entered_[m * parts_ + to] -= weight;
      } else if (before_to == 1) {
        only(pattern, on(to), -weight);
      }
    }
  }
  part_[item] = static_cast<std::uint16_t>(to);
}

void Partition::swap(std::size_t e, std::size_t f) {
  const std::size_t a = part_[e], b = part_[f];
  move(e, b);
  move(f, a);
}

void Partition::assign(std::span<const std::uint16_t> part_of_item) {
  for (std::size_t e = 0; e < items(); ++e) move(e, part_of_item[e]);
}

}  // namespace moesaic::placement
