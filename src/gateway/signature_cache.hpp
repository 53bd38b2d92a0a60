// Expert counts of recent prompts by the prompt's beginning: hashed byte blocks, each hash covering all that
// is before it. A prompt that shares its first blocks with a known one gets that one's counts: approximate,
// bounded, forgetful (least recently used).
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace moesaic::gateway {

/// What a prefill activated: counts [L, E] over `tokens` tokens.
struct Usage {
  std::vector<float> counts{};
  std::uint32_t tokens = 0;
};

class SignatureCache {
 public:
  /// At most `entries` blocks are known; 0 switches the cache off.
  SignatureCache(std::size_t entries, std::size_t block_bytes)
      : entries_(entries), block_bytes_(block_bytes) {}

  /// The usage of the longest known prefix of whole blocks; nullptr when none is known. O(prompt).
  std::shared_ptr<const Usage> find(std::string_view prompt);
  void insert(std::string_view prompt, const std::shared_ptr<const Usage>& usage);
  std::size_t size() const { return known_.size(); }
  /// Bytes of a prompt that count.
  std::size_t reach() const { return entries_ == 0 ? 0 : kMaxBlocks * block_bytes_; }

 private:
  struct Entry {
    std::uint64_t hash;
    std::shared_ptr<const Usage> usage;
  };
  std::vector<std::uint64_t> hashes(std::string_view prompt) const;

  static constexpr std::size_t kMaxBlocks = 256;  ///< of one prompt: the beginning tells it
  std::size_t entries_, block_bytes_;
  std::list<Entry> order_;  ///< most recent first
  std::unordered_map<std::uint64_t, std::list<Entry>::iterator> known_;
};

/// Hash of the first blocks, for prefix-aware prefill; 0 for a prompt shorter than a block.
std::uint64_t prefix_hash(std::string_view prompt, std::size_t bytes);

}  // namespace moesaic::gateway
