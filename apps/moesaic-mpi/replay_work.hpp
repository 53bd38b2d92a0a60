// What is replayed and what the evaluator says of it: requests, their homes, and the copies it counts.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "artifact/plan.hpp"
#include "comm/comm.hpp"
#include "core/result.hpp"
#include "replay/replay.hpp"
#include "trace/trace.hpp"

namespace moesaic::app {

/// As typed.
struct ReplayChoice {
  std::optional<std::string> requests, phase, predict_from;
  std::string assign = "after-prefill";
  double home_slack = 0.1;
  std::size_t limit = 0;  ///< first requests in arrival order; 0 = all
};

struct ReplayWork {
  std::vector<replay::RequestSpan> spans;
  std::string on;  ///< which requests, for people
  std::vector<std::string> said;
};

/// Picks the requests and gives them the homes `evaluate` gives them: at the root, then told to all.
Result<ReplayWork> replay_work(const artifact::Plan& plan, const trace::Trace& trace,
                               const ReplayChoice& choice, comm::Comm& comm);

/// Copies of one layer by src/traffic, which replay does not know.
struct PredictedCopies {
  std::vector<std::int64_t> node, gpu;  ///< [L]
};
/// Ranks share the layers.
Result<PredictedCopies> predict_copies(const artifact::Plan& plan, const trace::Trace& trace,
                                       const ReplayWork& work, const replay::Options& options,
                                       comm::Comm& comm);

}  // namespace moesaic::app
