// Runs a plan: every rank is a GPU, tokens of a trace go to the replicas `dispatch` chooses, experts run and
// results come back weighted, with real bytes. What arrives is counted and timed; a sample of the results is
// compared with a reference that never communicates. Nothing here knows src/traffic: that the bytes measured
// equal those the evaluator counts is evidence for both.
//
// Layers run one after another over all micro-batches. A trace tells every layer's choices beforehand, so
// what is sent is what a forward pass would send, and memory is that of one layer's experts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "artifact/plan.hpp"
#include "comm/comm.hpp"
#include "core/clock.hpp"
#include "core/json.hpp"
#include "core/result.hpp"
#include "replay/options.hpp"
#include "replay/own_tokens.hpp"
#include "trace/trace.hpp"

namespace moesaic::replay {

/// Seconds, summed over micro-batches.
struct Seconds {
  double dispatch = 0, compute = 0, combine = 0, wait = 0;  ///< mean over ranks
  /// Dispatch and combine of the slowest rank of each micro-batch: what the traffic costs.
  double slowest_dispatch_combine = 0;
};

struct LayerReport {
  LayerId layer{};
  std::vector<std::int64_t> dispatch, combine;  ///< [ranks, ranks] bytes of hidden states, sender-major
  std::int64_t control_inter_node_bytes = 0;    ///< ids, gates and counts that crossed nodes
  Seconds seconds = {};
  double distinct_experts = 0;  ///< that a GPU runs in a micro-batch, mean
  double asked_experts = 0;     ///< that a GPU's own tokens of a micro-batch activate, mean of those with any
  std::int64_t rows = 0;
  double max_abs_error = 0;      ///< of the outputs compared; infinite where one is no number
  double max_abs_reference = 0;  ///< the largest of them

  /// Bytes of hidden states between nodes, and between GPUs inside nodes, both ways.
  std::int64_t inter_node_bytes(const Topology& topology) const;
  std::int64_t intra_node_bytes(const Topology& topology) const;
};

struct Report {
  Topology topology;
  Options options;
  std::int64_t tokens = 0;
  std::size_t batches = 0;              ///< micro-batches of a layer
  std::int64_t checked_tokens = 0;      ///< of all layers
  std::vector<std::string> hosts = {};  ///< [ranks]
  std::vector<LayerReport> layers = {};

  std::int64_t inter_node_bytes() const;
  std::int64_t intra_node_bytes() const;
  double asked_experts() const;  ///< of all layers
  Seconds seconds() const;
  double max_abs_error() const;
  /// What max_abs_error may be: see tolerance().
  bool within_tolerance() const;
};

/// Share of the largest reference output by which an output may differ: 1e-5 with f32; with bf16, 2^-6:
/// four roundings of 2^-9 on a token's way, and partial sums that may be twice the result.
double tolerance(Wire wire);

/// Checks that ranks and plan fit: as many ranks as GPUs, ranks of a node of the plan on one host. The host
/// names come back, one a rank. `said` gets a sentence when nodes of the plan share a host, for their
/// traffic then never leaves it. Every rank must call it. Errors (bad input) say how to start the job.
Result<std::vector<std::string>> check_ranks(const Topology& topology, comm::Comm& comm,
                                             std::vector<std::string>& said);

/// Called at the root before each layer with its row.
using Progress = std::function<void(std::size_t row)>;

/// Replays `requests` (the same on every rank, homes of the plan's topology). The report is the same on every
/// rank. REQUIRES: comm.size() == GPUs; the trace has the plan's layers and experts; hidden, intermediate
/// and batch_tokens > 0. Errors of a rank (a missing shard) end all ranks alike.
Result<Report> run(const artifact::Plan& plan, const trace::Trace& trace,
                   std::span<const RequestSpan> requests, const Options& options, comm::Comm& comm,
                   const Clock& clock, const Progress& progress = {});

/// "schema": "moesaic.replay/1" without what the evaluator predicts (docs/replay.md).
Json to_json(const Report& report);

}  // namespace moesaic::replay
