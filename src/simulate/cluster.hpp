// What is simulated: pools of prefill and decode workers and the link between them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/clock.hpp"
#include "core/placement.hpp"
#include "core/result.hpp"
#include "cost/step_time.hpp"
#include "dispatch/dispatch.hpp"
#include "routing/decode_policies.hpp"
#include "simulate/arrivals.hpp"
#include "simulate/request_deck.hpp"

namespace moesaic::simulate {

/// A worker runs one prompt after the other; a prompt takes fixed + its tokens that are not cached x
/// per_token.
struct PrefillPool {
  std::size_t workers = 1;
  Nanoseconds fixed{0};
  cost::Picoseconds per_token{0};
  std::string policy = "least-loaded";
  /// Blocks that a worker's prefix cache keeps, the least recently used leave first. 0: no cache.
  std::size_t cache_blocks = 0;
  std::uint32_t block_tokens = 512;
};

/// Keys and values of a prompt travel in latency + tokens x per_token; transfers do not disturb each other.
struct Transfer {
  Nanoseconds latency{0};
  cost::Picoseconds per_token{0};
};

/// Experts of a decoder over its GPUs. Without one a decoder is one GPU that holds everything.
struct DecoderPlan {
  Placement placement;
  dispatch::Rule rule = dispatch::Rule::kLocal;  ///< local or sglang: those that look at the source alone
};

/// In which order requests that wait before a full decoder join its batch.
struct Admission {
  enum class Kind {
    kFifo,
    kMicroBatch,  ///< those that are predicted to add the fewest experts to the batch
                  ///< (grouping/micro_batches.hpp)
  };
  Kind kind = Kind::kFifo;
  std::size_t pool = 64;        ///< kMicroBatch: waiting requests looked at, the longest waiting ones
  std::uint64_t max_late = 64;  ///< kMicroBatch: places later than first in, first out, at most (WaitingLine)
};

/// A decoder leaves (its batch, its queue and their KV are lost) or comes.
struct FleetEvent {
  Nanoseconds at{0};
  std::uint32_t worker = 0;
  bool up = false;
};

struct DecodePool {
  std::size_t workers = 1;        ///< that are up from the start: 0, 1, ...
  std::uint32_t max_running = 0;  ///< requests of one batch. 0: no limit
  std::int64_t kv_capacity = 0;   ///< tokens; a request reserves prompt + output. 0: no limit
  cost::StepTime step{};
  std::optional<DecoderPlan> plan{};
  Admission admission{};
  bool tells_experts = false;        ///< an answer says what its decode activated: routing's observed()
  std::vector<FleetEvent> events{};  ///< by time; those of one time in order

  /// Workers that are ever up: 0, 1, ...
  std::size_t ever() const {
    std::size_t count = workers;
    for (const FleetEvent& event : events) count = std::max<std::size_t>(count, event.worker + 1);
    return count;
  }
};

/// Errors (bad input): events out of time's order, a worker that comes while it is up or leaves while it is
/// not, a moment without any worker.
Status validate(const DecodePool& pool);

struct Cluster {
  PrefillPool prefill{};
  Transfer transfer{};
  DecodePool decode{};
  ArrivalOptions arrivals{};
  Mix mix{};
  /// What decode policies are made from; the seed and domain shares are set for every run.
  routing::DecodePolicyConfig policies{};
  Nanoseconds tick_every = std::chrono::milliseconds(100);  ///< of the decode policy
  Nanoseconds refit_takes = std::chrono::milliseconds(50);  ///< from a policy's job to its result
  Nanoseconds warm_up = std::chrono::seconds(20);           ///< arrivals before count nowhere
  Nanoseconds measure = std::chrono::seconds(60);           ///< arrivals within count
};

}  // namespace moesaic::simulate
