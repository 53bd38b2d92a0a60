#include "placement/patterns_table.hpp"

#include <algorithm>

#include "core/check.hpp"
#include "core/limits.hpp"
#include "core/random.hpp"

namespace moesaic::placement {
namespace {

std::uint64_t hash_of(std::span<const std::uint32_t> items, std::size_t home) {
  std::uint64_t hash = home;
  for (const std::uint32_t item : items) hash = (hash ^ item) * 0x9E3779B97F4A7C15u;
  return splitmix64(hash);
}

}  // namespace

PatternBuilder::PatternBuilder(std::size_t item_count, std::size_t part_count) : slots_(1024) {
  MOESAIC_CHECK(part_count <= limits::kMaxGpus);
  table_.item_count = item_count;
  table_.part_count = part_count;
}

void PatternBuilder::add(std::span<const std::uint32_t> items, std::size_t home, std::uint32_t weight) {
  if (items.empty()) return;
  const std::uint64_t hash = hash_of(items, home);
  std::size_t slot = hash & (slots_.size() - 1);
  for (; slots_[slot] != 0; slot = (slot + 1) & (slots_.size() - 1)) {
    const std::size_t pattern = slots_[slot] - 1;
    if (hashes_[pattern] == hash && table_.home[pattern] == home &&
        std::ranges::equal(table_.items_of(pattern), items)) {
      table_.weight[pattern] += weight;
      return;
    }
  }
  table_.items.insert(table_.items.end(), items.begin(), items.end());
  table_.offsets.push_back(static_cast<std::uint32_t>(table_.items.size()));
  table_.home.push_back(static_cast<std::uint16_t>(home));
  table_.weight.push_back(weight);
  hashes_.push_back(hash);
  slots_[slot] = static_cast<std::uint32_t>(table_.size());
  if (table_.size() * 2 > slots_.size()) grow();
}

void PatternBuilder::grow() {
  slots_.assign(slots_.size() * 2, 0);
  for (std::size_t pattern = 0; pattern < hashes_.size(); ++pattern) {
    std::size_t slot = hashes_[pattern] & (slots_.size() - 1);
    while (slots_[slot] != 0) slot = (slot + 1) & (slots_.size() - 1);
    slots_[slot] = static_cast<std::uint32_t>(pattern + 1);
  }
}

PatternTable mapped_patterns(const traffic::LayerTokens& tokens, const Topology& topology,
                             Attention attention, std::size_t item_count, const PatternOptions& options,
                             const ItemOfRow& item_of) {
  std::size_t total = 0;
  for (const traffic::Segment& segment : tokens.segments) total += segment.count;
  const std::size_t wanted = options.max_tokens == 0 ? total : std::min(total, options.max_tokens);
  PatternBuilder builder(item_count, topology.gpus());
  std::vector<std::uint32_t> row;
  std::size_t credit = 0;  // Bresenham: takes `wanted` of `total` tokens, evenly spread
  for (std::size_t s = 0; s < tokens.segments.size(); ++s) {
    const traffic::Segment& segment = tokens.segments[s];
    const std::uint32_t weight = options.weights.empty() ? 1 : options.weights[s];
    for (std::size_t j = 0; j < segment.count; ++j) {
      const std::size_t position = segment.position + j;
      const std::size_t home = index(topology.source_gpu(segment.home, position, attention));
      row.clear();
      for (const ExpertId expert : tokens.experts.subspan((segment.begin + j) * tokens.k, tokens.k)) {
        if (expert != kMissingExpert) row.push_back(item_of(index(expert), segment, position, home));
      }
      credit += wanted;
      if (credit < total) continue;
      credit -= total;
      if (options.single_rows) {
        for (const std::uint32_t& item : row) builder.add(std::span(&item, 1), home, weight);
        continue;
      }
      std::ranges::sort(row);
      builder.add(row, home, weight);
    }
  }
  return builder.take();
}

PatternTable token_patterns(const traffic::LayerTokens& tokens, const Topology& topology, Attention attention,
                            std::size_t experts, const PatternOptions& options) {
  return mapped_patterns(tokens, topology, attention, experts, options,
                         [](std::size_t expert, const traffic::Segment&, std::size_t, std::size_t) {
                           return static_cast<std::uint32_t>(expert);
                         });
}

PatternTable project(const PatternTable& table, std::span<const std::uint32_t> new_item,
                     std::size_t item_count, std::span<const std::uint16_t> new_home,
                     std::size_t part_count) {
  MOESAIC_CHECK(new_item.size() == table.item_count && new_home.size() == table.part_count);
  PatternBuilder builder(item_count, part_count);
  std::vector<std::uint32_t> row;
  for (std::size_t pattern = 0; pattern < table.size(); ++pattern) {
    if (new_home[table.home[pattern]] == kNoHome) continue;
    row.clear();
    for (const std::uint32_t item : table.items_of(pattern)) {
      if (new_item[item] != kLeftOut) row.push_back(new_item[item]);
    }
    builder.add(row, new_home[table.home[pattern]], table.weight[pattern]);
  }
  return builder.take();
}

std::vector<std::int64_t> item_rows(const PatternTable& table) {
  std::vector<std::int64_t> rows(table.item_count);
  for (std::size_t pattern = 0; pattern < table.size(); ++pattern) {
    for (const std::uint32_t item : table.items_of(pattern)) rows[item] += table.weight[pattern];
  }
  return rows;
}

}  // namespace moesaic::placement
