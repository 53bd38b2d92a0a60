// The prompts whose keys and values a prefiller keeps until a decoder takes them: each once, by the one that
// names it right, within its lifetime.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.hpp"
#include "core/result.hpp"

namespace moesaic::emulator {

struct Offer {
  std::string key;                    ///< request, transfer or room
  std::vector<std::uint64_t> blocks;  ///< ids of its KV blocks
  std::uint64_t prompt_hash = 0;
  std::uint32_t prompt_tokens = 0;
  std::optional<std::uint64_t> ids_hash{};  ///< of the prompt's token ids, when the first token left early
  std::uint32_t recorded = 0;               ///< request of the recording
};

/// Not thread-safe. Time comes with the calls.
class HandoffBook {
 public:
  enum class Taken { kTaken, kUnknown, kReplayed, kWrongBlocks, kExpired };

  explicit HandoffBook(Nanoseconds lifetime) : lifetime_(lifetime) {}

  /// Errors (bad input): a key that was offered before.
  Status offer(Offer offer, Nanoseconds now);
  /// Gives the handoff out, once. `blocks` may be empty where the protocol does not name them.
  Taken take(const std::string& key, const std::vector<std::uint64_t>& blocks, Nanoseconds now, Offer& out);
  /// Frees one that nobody will take; false when there is none.
  bool release(const std::string& key);
  /// Drops the expired.
  void expire(Nanoseconds now);

  std::size_t pending() const { return pending_.size(); }
  std::int64_t pending_tokens() const;
  std::uint64_t expired() const { return expired_; }
  std::uint64_t released() const { return released_; }
  std::uint64_t taken() const { return taken_; }

 private:
  struct Entry {
    Offer offer;
    Nanoseconds until;
  };
  enum class Past { kTaken, kExpired, kReleased };
  Nanoseconds lifetime_;
  std::map<std::string, Entry, std::less<>> pending_;
  static constexpr std::size_t kRemembered = 65'536;
  void remember(const std::string& key, Past past);

  std::map<std::string, Past, std::less<>> past_;  ///< the last keys that are no longer pending
  std::deque<std::string> past_order_;
  std::uint64_t expired_ = 0, released_ = 0, taken_ = 0;
};

}  // namespace moesaic::emulator
