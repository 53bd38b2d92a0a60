// One pass over the tokens of one layer: everything profile counts, in integers, then the figures of that
// layer alone. Layers are independent, so a thread a layer gives the same bytes at any thread count.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/result.hpp"
#include "profile/segments.hpp"
#include "profile/steps.hpp"
#include "profile/structure.hpp"
#include "trace/trace.hpp"

namespace moesaic::profile {

/// Phases that rows may have; the last is for counts whose phase is not known.
inline constexpr std::size_t kPhases = 3;
inline constexpr std::size_t kPrefillRow = 0, kDecodeRow = 1, kUnknownRow = 2;

/// Counts of one layer.
struct LayerLoads {
  std::vector<double> loads;    ///< [kPhases, domains, E]; whole numbers unless the trace holds shares
  std::vector<double> windows;  ///< [windows, E], of the main phase
};

struct StepFigure {
  std::size_t steps = 0;  ///< looked at; 0: too few requests
  double max_over_mean = 0, max_over_mean_p95 = 0, max_over_mean_independent = 0;
  double distinct = 0, distinct_p95 = 0, distinct_independent = 0;
};

/// Buckets of the tokens since a request last used the expert: 1, 2, 3-4, 5-8, ..., above 2^14.
inline constexpr std::size_t kGapBuckets = 16;
struct Reuse {
  std::uint64_t rows = 0, first_uses = 0;
  std::array<std::uint64_t, kGapBuckets> gaps{};
  double pooled = 0;       ///< rows whose expert the token before chose too / rows with a token before
  double per_request = 0;  ///< the same a request, mean over requests
  double independent = 0;  ///< sum of p^2 / k, p = share of tokens that choose an expert
};

struct Sharpening {
  std::uint64_t requests = 0;
  double pearson = 0;  ///< sum until finished, then the mean
};
inline constexpr std::size_t kSharpenings = 13;  ///< after 1, 2, 4, ..., 4096 tokens

struct Correlation {
  double pooled_pearson = 0, pooled_spearman = 0;
  std::vector<double> request_pearson, request_spearman;  ///< [correlated]; NaN where constant
  std::array<Sharpening, kSharpenings> after{};
};

/// Rows of a request that its own most used experts take, summed over requests: bounds for grouping.
struct OwnExperts {
  double rows = 0;
  std::vector<double> kept;  ///< [capacities]
};

struct LayerProfile {
  LayerLoads counts;
  std::vector<StepFigure> steps, same_kind_steps;  ///< by schedule
  Reuse reuse;
  Correlation correlation;
  CoActivation together;
  Affinity next;
  std::vector<float> request_cosines;  ///< of pairs of sampled requests, for the similarity of layers
  std::vector<double> group_loads;     ///< [2 halves, groups, E] of sampled requests
  OwnExperts own;
  std::uint64_t missing = 0;  ///< choices the source did not record
};

/// What all layers share. Spans outlive the pass.
struct PassPlan {
  const trace::Trace& trace;
  const Walk& walk;
  std::span<const Schedule> steps, same_kind_steps;
  std::span<const std::uint32_t> group_of_sampled;  ///< kNone = none
  std::size_t groups = 0;
  std::vector<std::size_t> capacities;  ///< experts a node may hold
  std::size_t compared_requests = 192;  ///< sampled requests that request_cosines pairs
  std::size_t keep_pairs = 8;
};
inline constexpr std::size_t kMaxPairedExperts = 1024;

/// Memory: a block of tokens, 8 E^2 bytes and the counters. O(rows k).
Result<LayerProfile> pass_layer(const PassPlan& plan, std::size_t layer);

/// Rows of the main phase that the sampled requests gave each expert, [sampled, E].
Result<std::vector<float>> sampled_usage(const trace::Trace& trace, const Walk& walk, std::size_t layer);

}  // namespace moesaic::profile
