// Prompts that a prefiller keeps for a decoder: from its reply until a decoder has taken them, or they are
// given up. Given up ones are released where the engine has a way.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>

namespace moesaic::gateway {

class HandoffLedger {
 public:
  enum class Id : std::uint64_t {};

  /// A prefiller has answered.
  Id open() { return *open_.insert(Id{++last_}).first; }
  /// A decoder answered: it has it.
  void taken(Id id) { taken_ += open_.erase(id); }
  /// Nobody will take it. Released, or left to expire.
  void given_up(Id id, bool released) {
    if (open_.erase(id) > 0) ++(released ? released_ : orphaned_);
  }

  std::size_t open_count() const { return open_.size(); }
  std::uint64_t taken_count() const { return taken_; }
  std::uint64_t released_count() const { return released_; }
  std::uint64_t orphaned_count() const { return orphaned_; }

 private:
  std::set<Id> open_;
  std::uint64_t last_ = 0, taken_ = 0, released_ = 0, orphaned_ = 0;
};

}  // namespace moesaic::gateway
