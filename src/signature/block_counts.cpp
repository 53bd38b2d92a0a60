#include "signature/block_counts.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "core/check.hpp"

namespace moesaic::signature {
namespace {

std::size_t bytes_of(const BlockCounts& block) {
  return sizeof(BlockCounts) + block.counts.size() * sizeof(block.counts[0]);
}

}  // namespace

Result<std::vector<BlockCounts>> block_counts(std::span<const ExpertId> tokens, const CountShape& shape,
                                              std::size_t block_tokens) {
  MOESAIC_CHECK(block_tokens > 0);
  const std::size_t row = shape.layers * shape.top_k;
  if (row == 0 || tokens.size() % row != 0) {
    return bad_input(
        fmt::format("block counts: {} expert ids are no whole tokens of {} layers x {}; give all layers of "
                    "every token.",
                    tokens.size(), shape.layers, shape.top_k));
  }
  std::vector<BlockCounts> out;
  for (std::size_t token = 0; token < tokens.size() / row; ++token) {
    if (token % block_tokens == 0) {
      out.push_back({.counts = std::vector<std::uint16_t>(shape.layers * shape.experts)});
    }
    BlockCounts& block = out.back();
    ++block.tokens;
    for (std::size_t i = 0; i < row; ++i) {
      const ExpertId expert = tokens[token * row + i];
      if (expert == kMissingExpert) continue;
      const std::size_t layer = i / shape.top_k;
      if (index(expert) >= shape.experts) {
        return bad_input(
            fmt::format("block counts: token {}, layer row {}: expert {} of a layer with {}; "
                        "give logical ids of this model.",
                        token, layer, index(expert), shape.experts));
      }
      std::uint16_t& count = block.counts[layer * shape.experts + index(expert)];
      if (count == std::numeric_limits<std::uint16_t>::max()) {
        return bad_input(
            fmt::format("block counts: block {}, layer row {}: expert {} is counted more than "
                        "{} times, the most that 16 bits hold; use smaller blocks.",
                        out.size() - 1, layer, index(expert), count));
      }
      ++count;
    }
  }
  return out;
}

Status add_block(const BlockCounts& block, PrefixCounts& sum) {
  constexpr std::uint32_t kMost = std::numeric_limits<std::uint32_t>::max();
  const bool first = sum.blocks == 0 && sum.counts.empty();
  if (!first && sum.counts.size() != block.counts.size()) {
    return bad_input(
        fmt::format("block counts: a block of {} (layer, expert) cells follows blocks of {}; keep blocks of "
                    "one model.",
                    block.counts.size(), sum.counts.size()));
  }
  if (first) sum.counts.resize(block.counts.size());
  bool fits = block.tokens <= kMost - sum.tokens;
  for (std::size_t cell = 0; cell < sum.counts.size(); ++cell) {
    fits = fits && block.counts[cell] <= kMost - sum.counts[cell];
  }
  if (!fits) {
    return bad_input(fmt::format(
        "block counts: block {} takes a sum beyond the {} that 32 bits hold; the request is longer "
        "than can be counted.",
        sum.blocks, kMost));
  }
  for (std::size_t cell = 0; cell < sum.counts.size(); ++cell) sum.counts[cell] += block.counts[cell];
  sum.tokens += block.tokens;
  ++sum.blocks;
  return {};
}

Result<std::vector<float>> to_floats(std::span<const std::uint32_t> counts) {
  constexpr std::uint32_t kExact = 1u << 24;
  std::vector<float> out;
  out.reserve(counts.size());
  for (const std::uint32_t count : counts) {
    if (count >= kExact) {
      return bad_input(fmt::format(
          "block counts: a count of {}, expected below {}, which a float holds exactly; the request "
          "is longer than can be counted.",
          count, kExact));
    }
    out.push_back(static_cast<float>(count));
  }
  return out;
}

void BlockCountCache::drop(std::list<Entry>::iterator entry) {
  bytes_ -= bytes_of(*entry->block);
  known_.erase(entry->hash);
  order_.erase(entry);
}

void BlockCountCache::insert(std::uint64_t hash, BlockCounts block) {
  const std::size_t bytes = bytes_of(block);
  if (const auto found = known_.find(hash); found != known_.end()) drop(found->second);
  if (bytes > max_bytes_) return;
  while (bytes_ + bytes > max_bytes_) drop(std::prev(order_.end()));
  order_.push_front({hash, std::make_shared<const BlockCounts>(std::move(block))});
  known_[hash] = order_.begin();
  bytes_ += bytes;
}

std::shared_ptr<const BlockCounts> BlockCountCache::find(std::uint64_t hash) {
  const auto found = known_.find(hash);
  if (found == known_.end()) return nullptr;
  order_.splice(order_.begin(), order_, found->second);
  return found->second->block;
}

Result<PrefixCounts> BlockCountCache::prefix(std::span<const std::uint64_t> hashes) {
  std::size_t known = 0;
  while (known < hashes.size() && known_.contains(hashes[known])) ++known;
  PrefixCounts sum;
  // From the last block to the first, so that the tail of a prefix leaves the cache before its head.
  for (std::size_t i = known; i-- > 0;) MOESAIC_TRY(add_block(*find(hashes[i]), sum));
  return sum;
}

}  // namespace moesaic::signature
