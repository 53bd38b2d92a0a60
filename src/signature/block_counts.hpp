// Expert counts kept where the keys and values are: one table a KV block. A prompt whose first blocks are
// cached is never computed again, so its prefill says nothing of them; the sum of the cached blocks' counts
// and the computed ones' is what an uncached prefill would have counted, exactly.
//
// Counts are whole numbers of a checked width: 16 bits a block, 32 bits a request. What does not fit is an
// error, never a wrap.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "core/ids.hpp"
#include "core/result.hpp"

namespace moesaic::signature {

/// Of the tokens of one block.
struct BlockCounts {
  std::uint32_t tokens = 0;
  std::vector<std::uint16_t> counts{};  ///< [L, E]
  bool operator==(const BlockCounts&) const = default;
};

/// Of a request, or of the leading blocks of one.
struct PrefixCounts {
  std::uint32_t tokens = 0;
  std::size_t blocks = 0;
  std::vector<std::uint32_t> counts{};  ///< [L, E]
};

/// What tokens are counted into.
struct CountShape {
  std::size_t layers = 0, experts = 0, top_k = 0;
};

/// Cuts `tokens` [tokens, L, k] into blocks of `block_tokens`, the last one maybe shorter. kMissingExpert is
/// counted nowhere. O(tokens L k + blocks L E). Errors (bad input), naming token, layer and block: a size
/// that is no multiple of L k, an id beyond E, an expert counted more than 65,535 times in a block. REQUIRES:
/// block_tokens > 0.
Result<std::vector<BlockCounts>> block_counts(std::span<const ExpertId> tokens, const CountShape& shape,
                                              std::size_t block_tokens);

/// sum += block. Errors (bad input): another number of cells, a sum beyond 32 bits; `sum` is as before then.
/// O(L E).
Status add_block(const BlockCounts& block, PrefixCounts& sum);

/// As the other parts take counts (signature::signature(), predict()). Errors (bad input): a count of 2^24 or
/// more, which a float does not hold exactly.
Result<std::vector<float>> to_floats(std::span<const std::uint32_t> counts);

/// Counts by block hash, the least recently used leave first. A hash covers the block's content and all that
/// is before it, as KV caches hash. Not thread-safe: one owner.
class BlockCountCache {
 public:
  /// Holds at most so many bytes of counts; 0 keeps nothing.
  explicit BlockCountCache(std::size_t max_bytes) : max_bytes_(max_bytes) {}

  /// Replaces what was known. A block larger than the whole cache is not kept.
  void insert(std::uint64_t hash, BlockCounts block);
  /// nullptr when it is not known.
  std::shared_ptr<const BlockCounts> find(std::uint64_t hash);
  /// Sum of the leading blocks that are known, up to the first that is not. O(blocks L E).
  /// Errors: those of add_block().
  Result<PrefixCounts> prefix(std::span<const std::uint64_t> hashes);

  std::size_t size() const { return known_.size(); }
  std::size_t bytes() const { return bytes_; }

 private:
  struct Entry {
    std::uint64_t hash = 0;
    std::shared_ptr<const BlockCounts> block{};
  };
  void drop(std::list<Entry>::iterator entry);

  std::size_t max_bytes_, bytes_ = 0;
  std::list<Entry> order_;  ///< most recent first
  std::unordered_map<std::uint64_t, std::list<Entry>::iterator> known_;
};

}  // namespace moesaic::signature
