// What a trace means: every figure that `moesaic profile` prints, from one call. docs/profile.md gives each
// figure's formula, unit and source. What a trace cannot tell is absent (empty, NaN) and said in `cannot`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "comm/comm.hpp"
#include "core/json.hpp"
#include "core/result.hpp"
#include "core/thread_pool.hpp"
#include "profile/clusters.hpp"
#include "profile/domains.hpp"
#include "profile/drift.hpp"
#include "profile/gain.hpp"
#include "profile/layer_pass.hpp"
#include "profile/statistics.hpp"
#include "trace/trace.hpp"

namespace moesaic::profile {

struct Options {
  std::size_t windows = 8;       ///< of equal tokens; a counts store brings its own
  std::size_t max_domains = 64;  ///< the smaller ones beyond are one, "(others)"
  std::size_t gpus = 8;          ///< of the placement estimates; lowered to a divisor of E
  std::size_t nodes = 4;         ///< of the grouping estimates
  std::size_t clusters = 8;      ///< of requests
  std::vector<std::size_t> batches = {32, 64, 128, 256};
  std::size_t steps = 256;  ///< looked at for each batch size
  std::size_t top = 5;      ///< entries of each list of experts and pairs
  /// Called after each layer that this rank has read, from any of its threads, one call at a time.
  std::function<void(std::size_t done, std::size_t of)> on_layer = {};
};

/// One phase of the traffic: "prefill", "decode" or "all" (the source did not tell them apart).
struct PhaseFigures {
  std::string phase;
  double rows = 0;              ///< (token, expert) choices, or shares
  std::vector<Spread> layers;   ///< [L] over all domains
  Loads loads;                  ///< [L, domains, E]
  std::vector<Spread> domains;  ///< [domains] each a mean over layers; counts of experts are rounded down
  Spread average;               ///< over layers
};

/// One batch size. Means over layers.
struct StepsOfBatch {
  std::size_t batch = 0;
  StepFigure mixed, same_kind;  ///< same_kind: only requests of one domain run together
};

struct RequestCorrelation {
  double mean = 0, p10 = 0, p50 = 0, p90 = 0;  ///< over requests of the mean over layers
};
struct Correlations {
  std::size_t requests = 0;  ///< measured; 0: the trace cannot tell
  bool stand_in = false;     ///< the first third of the decode stood in for the prefill
  std::vector<double> layer_pearson, layer_spearman;  ///< [L] pooled over requests
  double pooled_pearson = 0, pooled_spearman = 0;     ///< mean over layers
  RequestCorrelation pearson, spearman;
  std::vector<Sharpening> after;  ///< of 1, 2, 4, ... tokens, mean over layers; requests: of one layer
};

struct Structure {
  double reuse = 0, reuse_per_request = 0, reuse_independent = 0;  ///< mean over layers
  double first_uses = 0;                                           ///< share of rows
  std::vector<double> gaps;                                        ///< [kGapBuckets] share of rows
  double mean_lift = 0, uniform_lift = 0;
  double followed = 0, followed_independent = 0, information_bits = 0;
  std::vector<double> reuse_by_layer;
  std::vector<CoActivation> together;  ///< [L]
  std::vector<Affinity> next;          ///< [L - 1]
  std::vector<double>
      layer_similarity;  ///< [L, L] Pearson of pairwise request cosines; empty: too few requests
};

struct Profile {
  std::string model, format, digest;
  trace::Kind kind = trace::Kind::kTokens;
  trace::CountUnit unit = trace::CountUnit::kTokens;
  std::vector<std::size_t> layers;  ///< ids
  std::size_t experts = 0, top_k = 0;
  std::uint64_t requests = 0, tokens = 0, prefill_tokens = 0, decode_tokens = 0, anonymous_tokens = 0;
  std::uint64_t missing = 0;  ///< choices that the source did not record
  std::string main_phase;     ///< of the figures that name none
  std::vector<std::string> domains;
  std::vector<double> domain_tokens;  ///< of the main phase; in a counts store rows / k
  std::vector<PhaseFigures> phases;
  std::vector<StepsOfBatch> steps;
  Distances between;  ///< domains, main phase
  Tree tree;          ///< of domains by Jensen-Shannon
  std::vector<std::vector<OverUse>> over_used;
  Generic generic;
  Clusters clusters;
  Correlations correlation;
  std::size_t windows = 1;
  bool arrivals = false;  ///< windows are of time, else of the store's order
  Drift drift;
  Structure structure;
  Balance balance;
  Grouping grouping;
  std::vector<std::string> cannot;  ///< full sentences: what this trace cannot tell, and why

  const PhaseFigures& main() const;
};

/// Reads the trace once a layer (twice where the next layer is looked at). Ranks share the layers of a
/// per-token trace and all get the result. Same bytes at any number of threads and ranks. Memory: a block and
/// 8 E^2 bytes a thread, 8 L D E bytes. Errors: the trace's; a store without rows.
Result<Profile> profile_trace(const trace::Trace& trace, const Options& options, ThreadPool& pool,
                              comm::Comm& comm = comm::one_rank());

/// "schema": "moesaic.profile/1"; names as in docs/profile.md.
Json to_json(const Profile& profile);

}  // namespace moesaic::profile
