#include "simulate/load.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/check.hpp"
#include "simulate/simulation.hpp"

namespace moesaic::simulate {
namespace {

constexpr std::uint64_t kPilotSeeds[] = {0x9107A, 0x9107B};
constexpr double kTolerance = 0.005;
constexpr int kTries = 12;

/// Requests a second that the prefill pool can serve without its caches.
double prefill_capacity(const Cluster& cluster, const Recording& recording) {
  double tokens = 0;
  for (const RecordedRequest& request : recording.requests) tokens += request.prompt_tokens;
  const double seconds = static_cast<double>(cluster.prefill.fixed.count()) / 1e9 +
                         static_cast<double>(cluster.prefill.per_token.count()) / 1e12 * tokens /
                             static_cast<double>(recording.requests.size());
  return seconds > 0 ? static_cast<double>(cluster.prefill.workers) / seconds : 1e12;
}

Result<double> mean_batch(const Cluster& cluster, const Recording& recording, double rate) {
  std::int64_t steps = 0, tokens = 0;
  for (const std::uint64_t seed : kPilotSeeds) {
    MOESAIC_ASSIGN(const RunResult result,
                   run(cluster, recording, {.policy = "jsq", .rate = rate, .seed = seed}));
    steps += result.steps, tokens += result.step_tokens;
  }
  return steps == 0 ? 0 : static_cast<double>(tokens) / static_cast<double>(steps);
}

}  // namespace

Result<double> rate_that_runs(const Cluster& of, const Recording& recording, double running) {
  MOESAIC_CHECK(running > 0);
  Cluster cluster = of;
  cluster.decode.events.clear();
  const auto whole = static_cast<std::uint32_t>(std::max(1.0, std::round(running)));
  double rate = rate_for_running(cluster, recording, whole), low = 0, high = 0, batch = 0;
  const double prefills = prefill_capacity(cluster, recording);
  for (int tries = 0; tries < kTries; ++tries) {
    if (rate >= prefills) {
      return bad_input(
          fmt::format("sweep: {} requests running in a decoder need {:.1f} requests/s or more, and the "
                      "prefill pool serves "
                      "{:.1f}. Give prefill more workers or a lower price, or ask for fewer running.",
                      running, rate, prefills));
    }
    MOESAIC_ASSIGN(batch, mean_batch(cluster, recording, rate));
    if (std::abs(batch / running - 1) <= kTolerance) return rate;
    (batch < running ? low : high) = rate;
    // The batch grows at least in proportion to the rate; between two bounds, halve.
    if (low == 0 || high == 0) {
      rate *= std::clamp(running / std::max(batch, 1e-3), 0.5, 1.3);
    } else {
      rate = (low + high) / 2;
    }
  }
  // Very small recordings jump; 5 % is still the load that was asked for.
  if (std::abs(batch / running - 1) <= 0.05) return rate;
  return bad_input(fmt::format(
      "sweep: no rate keeps {} requests running in a decoder (the nearest runs {:.1f}); the recording has {} "
      "requests for {} decoders of at most {} each. Ask for fewer, or simulate fewer decoders.",
      running, batch, recording.requests.size(), cluster.decode.workers, cluster.decode.max_running));
}

}  // namespace moesaic::simulate
