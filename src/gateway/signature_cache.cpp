#include "gateway/signature_cache.hpp"

#include <cstring>

#include "core/random.hpp"

namespace moesaic::gateway {
namespace {

/// Eight bytes at a time: long prompts come by on every request.
std::uint64_t hash_text(std::string_view text) {
  std::uint64_t hash = text.size();
  for (; text.size() >= 8; text.remove_prefix(8)) {
    std::uint64_t word = 0;
    std::memcpy(&word, text.data(), 8);
    hash = (hash ^ word) * 0x9E3779B97F4A7C15u;
    hash ^= hash >> 32;
  }
  std::uint64_t rest = 0;
  std::memcpy(&rest, text.data(), text.size());
  return counter_hash({hash, rest});
}

}  // namespace

std::uint64_t prefix_hash(std::string_view prompt, std::size_t bytes) {
  return prompt.size() < bytes ? 0 : hash_text(prompt.substr(0, bytes)) | 1;
}

std::vector<std::uint64_t> SignatureCache::hashes(std::string_view prompt) const {
  std::vector<std::uint64_t> out;
  std::uint64_t hash = 0;
  while (!prompt.empty() && out.size() < kMaxBlocks) {
    // The last block may be short: an equal prompt finds itself whole.
    const std::string_view block = prompt.substr(0, block_bytes_);
    prompt.remove_prefix(block.size());
    hash = counter_hash({hash, hash_text(block)});
    out.push_back(hash);
  }
  return out;
}

std::shared_ptr<const Usage> SignatureCache::find(std::string_view prompt) {
  if (known_.empty()) return nullptr;
  const std::vector<std::uint64_t> blocks = hashes(prompt);
  for (std::size_t i = blocks.size(); i-- > 0;) {
    const auto found = known_.find(blocks[i]);
    if (found == known_.end()) continue;
    order_.splice(order_.begin(), order_, found->second);
    return found->second->usage;
  }
  return nullptr;
}

void SignatureCache::insert(std::string_view prompt, const std::shared_ptr<const Usage>& usage) {
  if (entries_ == 0) return;
  for (const std::uint64_t hash : hashes(prompt)) {
    const auto found = known_.find(hash);
    if (found != known_.end()) {
      found->second->usage = usage;
      order_.splice(order_.begin(), order_, found->second);
      continue;
    }
    order_.push_front({hash, usage});
    known_[hash] = order_.begin();
  }
  while (known_.size() > entries_) {
    known_.erase(order_.back().hash);
    order_.pop_back();
  }
}

}  // namespace moesaic::gateway
