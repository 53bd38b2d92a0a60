// The serving cluster in virtual time: what one policy makes of one stream of arrivals.
//
//   arrival -> prefill worker (FIFO) -> decode policy -> KV transfer -> decoder: waits for a place, joins the
//   batch at a step's end, leaves when its last token is out
//
// Time is whole nanoseconds and moves from event to event; nothing depends on the machine. docs/simulate.md
// says what is modelled and what is left out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/clock.hpp"
#include "core/result.hpp"
#include "simulate/cluster.hpp"
#include "simulate/recording.hpp"

namespace moesaic::simulate {

/// The decode policy that is told the true decode frequencies of every request: how much `marginal` could
/// gain from better predictions.
inline constexpr std::string_view kMarginalOracle = "marginal-oracle";

struct RunOptions {
  std::string policy = "jsq";  ///< of routing::decode_policies(), or kMarginalOracle
  double rate = 1;             ///< requests a second; 0 keeps a file's own pace
  std::uint64_t seed = 0;      ///< of arrivals, mix and policy
};

/// One request of the measured ones.
struct RequestRecord {
  std::uint32_t recorded = 0;  ///< index in the recording
  std::uint32_t tokens = 0;    ///< of output
  std::uint32_t decoder = 0;
  Nanoseconds arrival{0}, prefill_done{0}, first_token{0}, last_token{0};

  Nanoseconds ttft() const { return first_token - arrival; }
  /// Time per output token after the first. REQUIRES: tokens > 1.
  Nanoseconds tpot() const { return (last_token - first_token) / (tokens - 1); }
};

/// What an arrival became.
struct Begun {
  Nanoseconds at{0};
  std::uint32_t recorded = 0;       ///< index in the recording
  std::uint32_t prompt_tokens = 0;  ///< of its prefill
  std::uint32_t tokens = 0;         ///< of output
};

struct RunResult {
  std::vector<RequestRecord> requests{};  ///< measured, in the order they ended
  // Over the steps that ended in the measured stretch of time:
  std::int64_t steps = 0;
  std::int64_t step_tokens = 0;                ///< sequences of all steps = output tokens
  std::int64_t active_experts = 0;             ///< distinct (layer, expert, GPU) read, of all steps
  std::vector<std::int64_t> decoder_tokens{};  ///< step_tokens by decoder
  std::vector<Nanoseconds> decoder_busy{};     ///< time in steps, by decoder
  // Over the whole run:
  std::vector<Begun> begun{};  ///< in order of time
  std::uint64_t arrivals = 0;  ///< requests that came
  std::uint64_t ended = 0;
  std::uint64_t restarted = 0;  ///< times that a request lost its decoder and began anew
  std::uint64_t held = 0;       ///< arrivals that waited because every recorded request was running
  std::uint64_t fallbacks = 0;  ///< arrivals whose favoured domain was all running
  std::uint64_t cached_prompt_tokens = 0, prompt_tokens = 0;
  std::uint64_t refits = 0;
  std::uint64_t events = 0;
  std::int64_t in_flight_time = 0;  ///< integral of requests between arrival and end, nanoseconds
  Nanoseconds end{0};
};

/// Pure: same input, same result. Runs until every request that arrived in [warm_up, warm_up + measure) has
/// ended (arrivals go on meanwhile), or, when arrivals end, until the cluster is empty. O(steps x (batch x
/// words + log events) + arrivals x policy). Errors (bad input): an unknown policy, or options it refuses.
/// REQUIRES: a valid mix, arrivals and decode pool; a recording with requests; workers >= 1; a decoder whose
/// KV holds every request; a predictor for the recording when admission goes by experts.
Result<RunResult> run(const Cluster& cluster, const Recording& recording, const RunOptions& options);

/// Requests a second that keep `running` requests in every decoder: workers x running sequences stepping at
/// the mean step time of batches of random requests. Deterministic. REQUIRES: running > 0.
double rate_for_running(const Cluster& cluster, const Recording& recording, std::uint32_t running);

/// Requests a second that the decode pool can serve: those of full batches. REQUIRES: max_running > 0.
inline double decode_capacity(const Cluster& cluster, const Recording& recording) {
  return rate_for_running(cluster, recording, cluster.decode.max_running);
}

}  // namespace moesaic::simulate
