// Scores placements on tokens of a trace: copies, bytes, balance. Knows nothing of how a placement was
// made; several placements are scored in one pass over the trace, on the same homes and tokens.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "comm/comm.hpp"
#include "core/homes.hpp"
#include "core/ids.hpp"
#include "core/json.hpp"
#include "core/placement.hpp"
#include "core/result.hpp"
#include "core/thread_pool.hpp"
#include "evaluate/selected_tokens.hpp"
#include "traffic/score.hpp"

namespace moesaic::evaluate {

/// Per token and MoE layer, but for bytes: per token over all layers. NaN = not known.
struct ModeScore {
  double node_copies_per_token_layer = 0;
  double gpu_copies_per_token_layer = 0;
  double inter_node_bytes_per_token = std::numeric_limits<double>::quiet_NaN();
  double padded_node_copies_per_token_layer = 0;
};

/// One layer's figures, for worst-layer reports and plots.
struct LayerScore {
  LayerId layer{};
  double dedup_node_copies = 0;       ///< a token
  double per_expert_node_copies = 0;  ///< a token
  double node_max_over_mean = 1;
  double gpu_max_over_mean = 1;
  std::vector<std::int64_t> gpu_rows = {};  ///< [GPUs]
};

struct Score {
  ModeScore dedup, per_expert;
  /// max/mean of rows per layer, then mean over layers (aggregate over all scored tokens).
  double node_max_over_mean = 1, gpu_max_over_mean = 1;
  /// GPUs, per synchronous step: mean, and 95th percentile over steps and layers.
  double gpu_max_over_mean_step = 1, gpu_max_over_mean_step_p95 = 1;
  /// Scored tokens of homes.
  double home_max_over_mean = 1;
  /// Jain's index of GPU rows: mean over layers, and of rows summed over layers.
  double jain_gpu = 1, jain_gpu_summed = 1;
  /// Distinct (GPU, expert) weights a step reads in a layer, mean.
  double active_slots_per_step_layer = 0;
  std::int64_t tokens = 0;
  /// Copies a token-layer from node to node, [N, N], source-major; empty where not known.
  std::vector<double> dedup_flow, per_expert_flow;
  std::vector<LayerScore> layers;
};

struct ScoreOptions {
  traffic::Objective objective;
  std::size_t step_requests = 8;  ///< running requests a home in a step (--step-tokens)
  /// Of the model preset: bytes that one copy moves there (dispatch) and back (combine); NaN = unknown.
  double bytes_per_copy = std::numeric_limits<double>::quiet_NaN();
  /// Ranks that share the layers; every one of them makes the same call and gets the same scores.
  comm::Comm* comm = &comm::one_rank();
};

/// Scores every placement. `homes.of_request` is by tokens.requests() order. Parallel over layers; the
/// result does not depend on the thread count. REQUIRES: placements have the trace's layers and experts.
Result<std::vector<Score>> score_placements(const SelectedTokens& tokens, const Homes& homes,
                                            std::span<const Placement* const> placements,
                                            const ScoreOptions& options, ThreadPool& pool);

/// Scores parts of the requests apart, on the same homes: `part_of` by tokens.requests() order; requests
/// whose part is not below `parts` are left out. [placements][parts]; copies and balance of a part without
/// tokens are NaN. Figures of steps are not computed (1, 0).
Result<std::vector<std::vector<Score>>> score_parts(const SelectedTokens& tokens, const Homes& homes,
                                                    std::span<const std::uint16_t> part_of, std::size_t parts,
                                                    std::span<const Placement* const> placements,
                                                    const ScoreOptions& options, ThreadPool& pool);

/// Field-wise mean, without layers and flows of more than one: what "random, mean of 5 seeds" or "mean of 5
/// splits" prints. REQUIRES: not empty.
Score mean(std::span<const Score> scores);

/// Balance of counts [rows, L, E] (one matrix or several windows) under a placement; a load is shared
/// evenly by an expert's replicas. Copies and step figures are NaN: counts do not hold them.
Score score_counts(std::span<const double> counts, const Placement& placement);

/// The keys of `evaluate --json`; with `layers`, a "layers" array as well.
Json to_json(const Score& score, bool layers);

}  // namespace moesaic::evaluate
