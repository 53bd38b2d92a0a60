// What is simulated: pools of prefill and decode workers and the link between them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "core/clock.hpp"
#include "core/placement.hpp"
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

struct DecodePool {
  std::size_t workers = 1;
  std::uint32_t max_running = 0;  ///< requests of one batch. 0: no limit
  std::int64_t kv_capacity = 0;   ///< tokens; a request reserves prompt + output. 0: no limit
  cost::StepTime step{};
  std::optional<DecoderPlan> plan{};
};

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
