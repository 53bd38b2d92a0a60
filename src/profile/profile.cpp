#include "profile/profile.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <numeric>

#include "profile/count_loads.hpp"
#include "profile/layer_parcel.hpp"
#include "profile/shared_layers.hpp"
#include "profile/summaries.hpp"

namespace moesaic::profile {
namespace {

void describe(const trace::Trace& trace, Profile& out) {
  out.model = trace.shape().model;
  out.format = trace.provenance().format;
  out.digest = trace.digest();
  out.kind = trace.kind();
  for (const LayerId layer : trace.shape().layers) out.layers.push_back(index(layer));
  out.experts = trace.shape().experts;
  out.top_k = trace.shape().top_k;
  out.requests = trace.requests().size();
}

/// Everything that follows from loads alone.
void finish(const Loads& windows, const Options& options, Profile& out) {
  const Loads& loads = out.main().loads;
  out.between = distances(loads);
  out.tree = average_linkage(out.between.jensen_shannon_bits, loads.kinds);
  out.over_used = over_used(loads, options.top);
  out.generic = generic_experts(loads);
  out.windows = windows.kinds;
  out.drift = drift(windows, options.gpus);
  out.balance = balance_gain(windows, options.gpus);
  if (out.domains.size() < 2)
    out.cannot.emplace_back("Domains cannot be compared: all traffic carries one label or none.");
  if (out.windows < 2) out.cannot.emplace_back("Drift cannot be told: the trace is one window.");
}

Status from_counts(const trace::Trace& trace, const Options& options, Profile& out) {
  MOESAIC_ASSIGN(CountLoads counts, read_count_loads(trace, options.max_domains));
  out.unit = trace.count_unit();
  out.domains = std::move(counts.domains);
  out.tokens = counts.tokens;
  for (std::size_t phase = 0; phase < kPhases; ++phase) {
    if (counts.rows[phase] > 0) out.phases.push_back(phase_figures(phase, std::move(counts.loads[phase])));
  }
  out.main_phase = phase_name(counts.main_phase);
  for (std::size_t d = 0; d < out.domains.size(); ++d) {
    const Loads& loads = out.main().loads;
    double rows = 0;
    for (std::size_t l = 0; l < loads.layers; ++l) rows += spread(loads.at(l, d)).rows;
    out.domain_tokens.push_back(rows / static_cast<double>(loads.layers * out.top_k));
  }
  out.arrivals = true;  // windows of a counts store are stretches of time
  finish(counts.windows, options, out);
  out.correlation = no_correlations();
  out.structure = no_structure();
  out.clusters.agreement = kNothing;
  out.grouping = {.nodes = options.nodes, .random = kNothing, .steps = {}};
  out.cannot.emplace_back(
      "The trace holds counts, not tokens: what single decode steps see, reuse from token to token, "
      "co-activation, affinity between layers, clusters of requests, the prefill's picture of the decode and "
      "what grouping of requests would gain cannot be told from it.");
  if (out.unit == trace::CountUnit::kShare)
    out.cannot.emplace_back("Counts are shares: every source row weighs the same, however long it was.");
  return {};
}

/// Requests of one domain as kinds for steps; kNoDomain for requests that no walk segment has.
std::vector<std::uint16_t> kinds_of_requests(const Walk& walk, std::size_t requests) {
  std::vector<std::uint16_t> out(requests, kNoDomain);
  for (const Segment& s : walk.segments) {
    if (s.request != kNone) out[s.request] = s.domain;
  }
  return out;
}

Loads join(const std::vector<LayerProfile>& layers, std::size_t phase, std::size_t kinds,
           std::size_t experts) {
  Loads out{.layers = layers.size(), .kinds = kinds, .experts = experts, .values = {}};
  const auto stride = static_cast<std::ptrdiff_t>(kinds * experts);
  for (const LayerProfile& layer : layers) {
    const auto begin = layer.counts.loads.begin() + static_cast<std::ptrdiff_t>(phase) * stride;
    out.values.insert(out.values.end(), begin, begin + stride);
  }
  return out;
}

Status from_tokens(const trace::Trace& trace, const Options& options, ThreadPool& pool, comm::Comm& comm,
                   Profile& out) {
  const Walk walk = make_walk(trace, {.windows = options.windows, .max_domains = options.max_domains});
  if (walk.phase_tokens == 0) return bad_input(fmt::format("{}: the trace holds no tokens", trace.path()));
  std::vector<Schedule> mixed, same;
  const std::vector<std::uint16_t> kinds = kinds_of_requests(walk, out.requests);
  for (const std::size_t batch : options.batches) {
    mixed.push_back(mixed_steps(walk, trace.requests(), batch, options.steps));
    same.push_back(same_kind_steps(walk, trace.requests(), batch, walk.domains.size() > 1 ? options.steps : 0,
                                   kinds, walk.domains.size()));
  }
  MOESAIC_ASSIGN(out.clusters, find_clusters(trace, walk, options.clusters, options.nodes, pool, comm));
  PassPlan plan{.trace = trace,
                .walk = walk,
                .steps = mixed,
                .same_kind_steps = same,
                .group_of_sampled = out.clusters.group_of_sampled,
                .groups = out.clusters.group_of_sampled.empty() ? 0 : options.nodes,
                .capacities = {},
                .keep_pairs = options.top};
  for (const double extra : kReplicaShares)
    plan.capacities.push_back(node_capacity(out.experts, options.nodes, extra));
  std::mutex told;
  std::size_t done = 0;
  const auto read = [&](std::size_t l) {
    auto layer = pass_layer(plan, l);
    const std::lock_guard lock(told);
    ++done;
    if (options.on_layer) options.on_layer(done, (out.layers.size() + comm.size() - 1) / comm.size());
    return layer;
  };
  MOESAIC_ASSIGN(const std::vector<LayerProfile> layers,
                 share_items<LayerProfile>(comm, pool, out.layers.size(), read, pack, unpack));

  out.tokens = trace.tokens();
  out.anonymous_tokens = walk.anonymous_tokens;
  out.prefill_tokens = walk.prefill_tokens;
  out.decode_tokens = walk.decode_tokens - walk.anonymous_tokens;
  out.domains = walk.domains;
  out.domain_tokens.assign(walk.domain_tokens.begin(), walk.domain_tokens.end());
  out.arrivals = walk.arrivals;
  for (const LayerProfile& layer : layers) out.missing += layer.missing;
  if (walk.prefill_tokens > 0)
    out.phases.push_back(
        phase_figures(kPrefillRow, join(layers, kPrefillRow, walk.domains.size(), out.experts)));
  if (walk.decode_tokens > 0)
    out.phases.push_back(
        phase_figures(kDecodeRow, join(layers, kDecodeRow, walk.domains.size(), out.experts)));
  out.main_phase = phase_name(walk.phase == Phase::kDecode ? kDecodeRow : kPrefillRow);
  Loads windows{.layers = layers.size(), .kinds = walk.windows, .experts = out.experts, .values = {}};
  for (const LayerProfile& layer : layers)
    windows.values.insert(windows.values.end(), layer.counts.windows.begin(), layer.counts.windows.end());
  finish(windows, options, out);
  for (std::size_t b = 0; b < options.batches.size(); ++b)
    out.steps.push_back(mean_steps(layers, b, options.batches[b]));
  out.correlation = correlations(layers, walk);
  out.structure = structure(layers);
  out.grouping = grouping(layers, plan, out.experts);
  say_what_is_missing(walk, out);
  return {};
}

}  // namespace

const PhaseFigures& Profile::main() const {
  return *std::find_if(phases.begin(), phases.end(),
                       [&](const PhaseFigures& p) { return p.phase == main_phase; });
}

Result<Profile> profile_trace(const trace::Trace& trace, const Options& options, ThreadPool& pool,
                              comm::Comm& comm) {
  Profile out;
  describe(trace, out);
  MOESAIC_TRY(trace.kind() == trace::Kind::kCounts ? from_counts(trace, options, out)
                                                   : from_tokens(trace, options, pool, comm, out));
  return out;
}

}  // namespace moesaic::profile
