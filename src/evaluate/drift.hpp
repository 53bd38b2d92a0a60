// How far observed expert loads are from those a plan was made for, and what that does to its balance.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/ids.hpp"
#include "core/placement.hpp"
#include "core/result.hpp"
#include "core/selection.hpp"
#include "core/thread_pool.hpp"
#include "trace/trace.hpp"

namespace moesaic::evaluate {

struct LayerDrift {
  LayerId layer{};
  double distance = 0;  ///< total variation between the experts' shares of load, 0 to 1
  double noise = 0;     ///< what that distance would be by chance alone, were all rows independent
  double planned_gpu_max_over_mean = 1, observed_gpu_max_over_mean = 1;
};

struct Drift {
  double distance = 0, noise = 0;  ///< means over layers
  /// Of the placement on the planning loads and on the observed ones; replicas share evenly. Means over
  /// layers.
  double planned_node_max_over_mean = 1, planned_gpu_max_over_mean = 1;
  double observed_node_max_over_mean = 1, observed_gpu_max_over_mean = 1;
  std::vector<LayerDrift> layers;
};

/// `planned` and `observed` are [L, E], >= 0. The noise of a side that holds whole numbers is that of so many
/// rows, of one with fractions (shares) 0; rows of a request hang together, so the true noise is larger.
/// O(L E). REQUIRES: sizes of the placement.
Drift drift(const Placement& placement, std::span<const double> planned, std::span<const double> observed);

/// Loads of a trace in up to `parts` stretches of equal length, oldest first.
struct ObservedLoads {
  std::vector<std::vector<double>> parts;  ///< each [L, E]
  std::vector<double> total;               ///< [L, E]
  Phase phase = Phase::kAll;               ///< of what was counted
  std::uint64_t rows = 0;                  ///< stretches are cut from so many tokens or count rows
};

/// Of the tokens or count rows of `phase`; of all where there are none of it (phase = kAll then). Tokens of
/// no request count in any phase. Count stores are cut between rows, in their order. Parallel over layers.
/// Errors: nothing in the trace, a damaged chunk. REQUIRES: parts > 0.
Result<ObservedLoads> observed_loads(const trace::Trace& trace, Phase phase, std::size_t parts,
                                     ThreadPool& pool);

}  // namespace moesaic::evaluate
