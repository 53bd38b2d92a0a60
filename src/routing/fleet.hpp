// The workers of a pool, their load, and which request is where. What every policy keeps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "routing/policy.hpp"
#include "routing/request_table.hpp"

namespace moesaic::routing {

/// Workers are addressed by their slot, which stays theirs while they are up and is reused after.
class Fleet {
 public:
  struct Slot {
    WorkerId id{};
    bool up = false;
    std::uint32_t max_running = 0;
    std::int64_t kv_capacity = 0;
    std::uint64_t load = 0;      ///< of our requests: their number, or prompt tokens in a prefill pool
    std::uint32_t requests = 0;  ///< ours, in flight
    std::uint32_t others = 0;    ///< requests that others sent, by the worker's last report
    std::int64_t kv_tokens = 0;  ///< of our requests
    std::uint64_t given = 0;     ///< requests it ever got
    /// Load, whoever sent it.
    std::uint64_t in_flight() const { return load + others; }
  };

  explicit Fleet(std::size_t reserve_requests = 4096) : requests_(reserve_requests) {}

  const std::vector<Slot>& slots() const { return slots_; }
  std::size_t up_count() const { return up_; }
  const RequestTable& requests() const { return requests_; }

  /// The slot of a new or known worker.
  std::uint32_t up(const Worker& worker);
  /// Forgets the worker and its requests. Its slot, if it was up.
  std::optional<std::uint32_t> down(WorkerId worker);
  std::optional<std::uint32_t> find(WorkerId worker) const;
  /// Ours at that worker; 0 for unknown ones.
  std::uint32_t in_flight(WorkerId worker) const {
    const auto slot = find(worker);
    return slot ? slots_[*slot].requests : 0;
  }
  /// The slot whose load of others changed, if any.
  std::optional<std::uint32_t> report(WorkerId worker, const WorkerLoad& load);

  /// REQUIRES: the slot is up, the request not in flight. Returns the request's place.
  std::uint32_t place(RequestId request, std::uint32_t slot, std::int64_t kv_tokens, std::uint32_t load = 1);
  struct Left {
    std::uint32_t place, slot;
  };
  std::optional<Left> remove(RequestId request);

  /// A batch or a KV cache is full: one more request would wait.
  bool full(std::uint32_t slot, std::int64_t kv_tokens) const;
  /// Fewest in flight among the slots that `among` admits, workers with room first; ties go to the one that
  /// got the fewest requests so far, then to the lowest slot. kNone when no slot is admitted.
  template <class Among>
  std::uint32_t least_loaded(std::int64_t kv_tokens, Among among) const {
    std::uint32_t best = kNone;
    for (std::uint32_t slot = 0; slot < slots_.size(); ++slot) {
      if (slots_[slot].up && among(slot) && (best == kNone || lighter(slot, best, kv_tokens))) best = slot;
    }
    return best;
  }
  std::uint32_t least_loaded(std::int64_t kv_tokens) const {
    return least_loaded(kv_tokens, [](std::uint32_t) { return true; });
  }
  /// The i-th slot that is up. REQUIRES: i < up_count().
  std::uint32_t nth_up(std::size_t i) const;
  /// The first slot that is up, from `turn` on and around; `turn` then stands behind it.
  /// REQUIRES: up_count() > 0.
  std::uint32_t next_up(std::uint32_t& turn) const;
  /// Slot a comes before slot b in the order of least_loaded().
  bool lighter(std::uint32_t a, std::uint32_t b, std::int64_t kv_tokens) const;

  static constexpr std::uint32_t kNone = 0xFFFFFFFFu;

 private:
  std::vector<Slot> slots_;
  RequestTable requests_;
  std::size_t up_ = 0;
};

/// Tokens of KV cache that a request holds on average over its life.
inline std::int64_t expected_kv(const Request& request) {
  return std::int64_t{request.prompt_tokens} + request.expected_output_tokens / 2;
}

/// What the simpler decode policies share: a fleet, and no refits. They only choose.
class FleetPolicy : public DecodePolicy {
 public:
  void worker_up(const Worker& worker, Nanoseconds) override { fleet_.up(worker); }
  void worker_down(WorkerId worker, Nanoseconds) override { fleet_.down(worker); }
  void worker_load(WorkerId worker, const WorkerLoad& load, Nanoseconds) override {
    fleet_.report(worker, load);
  }
  std::uint32_t in_flight(WorkerId worker) const override { return fleet_.in_flight(worker); }
  Decision admit(const Request& request, Nanoseconds at) override;
  void first_token(RequestId, Nanoseconds) override {}
  void finished(RequestId request, Nanoseconds) override { fleet_.remove(request); }
  std::optional<RefitJob> tick(Nanoseconds) override { return std::nullopt; }
  void refitted(const std::optional<RefitResult>&, Nanoseconds) override {}

 protected:
  struct Choice {
    std::uint32_t slot;
    Reason reason;
  };
  /// A slot that is up. Called only when there is one.
  virtual Choice choose(const Request& request, Nanoseconds at) = 0;

  Fleet fleet_;
};

}  // namespace moesaic::routing
