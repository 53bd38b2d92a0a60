// Prompts that a prefiller keeps for a decoder: from its reply until a decoder has taken them, or they are
// given up. Given up ones are released where the engine has a way.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "gateway/placer.hpp"

namespace moesaic::gateway {

class HandoffLedger {
 public:
  using Id = std::uint64_t;

  Id open(WorkerKey prefiller, std::string transfer_id) {
    open_.emplace(++last_, Entry{prefiller, std::move(transfer_id)});
    return last_;
  }
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
  struct Entry {
    WorkerKey prefiller;
    std::string transfer_id;
  };
  std::map<Id, Entry> open_;
  Id last_ = 0;
  std::uint64_t taken_ = 0, released_ = 0, orphaned_ = 0;
};

}  // namespace moesaic::gateway
