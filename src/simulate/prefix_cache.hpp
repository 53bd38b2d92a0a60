// Which prompt blocks a prefill worker still holds: the least recently used leave first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <span>
#include <unordered_map>

namespace moesaic::simulate {

class PrefixCache {
 public:
  explicit PrefixCache(std::size_t capacity_blocks) : capacity_(capacity_blocks) {}

  /// Leading blocks of the prompt that were held; afterwards all of it is, as far as it fits. Blocks are
  /// identified by content including everything before them. O(blocks).
  std::size_t use(std::span<const std::uint64_t> blocks) {
    std::size_t hits = 0;
    while (hits < blocks.size() && held_.contains(blocks[hits])) ++hits;
    // From the last block to the first: the tail of a prefix leaves before its head.
    for (std::size_t i = blocks.size(); i-- > 0;) {
      const auto found = held_.find(blocks[i]);
      if (found != held_.end()) {
        order_.splice(order_.begin(), order_, found->second);
      } else {
        order_.push_front(blocks[i]);
        held_[blocks[i]] = order_.begin();
      }
    }
    while (held_.size() > capacity_) {
      held_.erase(order_.back());
      order_.pop_back();
    }
    return hits;
  }

 private:
  std::size_t capacity_;
  std::list<std::uint64_t> order_;  ///< most recent first
  std::unordered_map<std::uint64_t, std::list<std::uint64_t>::iterator> held_;
};

}  // namespace moesaic::simulate
