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
  std::string micro_batches = "fifo";
  std::size_t batch_requests = 1;  ///< of a home that run in step
};

struct ReplayWork {
  std::vector<replay::RequestSpan> spans;
  std::string on;  ///< which requests, for people
  std::vector<std::string> said;
};

/// Picks the requests and gives them the homes `evaluate` gives them: at the root, then told to all.
Result<ReplayWork> replay_work(const artifact::Plan& plan, const trace::Trace& trace,
                               const ReplayChoice& choice, comm::Comm& comm);

/// What should arrive, by the copies that src/traffic counts: replay does not know it.
struct PredictedBytes {
  std::vector<std::int64_t> inter, intra;  ///< [L] between nodes, and between GPUs of a node, both ways

  /// Whether that is what arrived in layer row `row`.
  bool holds(const replay::Report& report, std::size_t row) const;
  std::int64_t total_inter() const;
  std::int64_t total_intra() const;
};
/// Ranks share the layers.
Result<PredictedBytes> predict_bytes(const artifact::Plan& plan, const trace::Trace& trace,
                                     const ReplayWork& work, const replay::Options& options,
                                     comm::Comm& comm);

}  // namespace moesaic::app
