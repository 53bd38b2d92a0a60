#include "replay/replay.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "comm/parcel.hpp"
#include "core/check.hpp"
#include "replay/step.hpp"

namespace moesaic::replay {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// What a rank knows of a layer when it has run.
struct RankLayer {
  Arrived arrived;
  std::vector<StepTimes> times;  ///< [batches]
  std::int64_t rows = 0, distinct = 0, asked = 0, filled = 0, checked = 0;
  double max_abs_error = 0, max_abs_reference = 0;
};

/// Every field, in the order they travel in.
template <class Layer, class Each>
void each_field(Layer& layer, const Each& each) {
  each(layer.arrived.dispatch);
  each(layer.arrived.combine);
  each(layer.arrived.control);
  each(layer.times);
  each(layer.rows);
  each(layer.distinct);
  each(layer.asked);
  each(layer.filled);
  each(layer.checked);
  each(layer.max_abs_error);
  each(layer.max_abs_reference);
}

comm::Bytes pack(const RankLayer& layer) {
  comm::Packer out;
  each_field(layer, [&](const auto& field) { out.put(field); });
  return out.take();
}

RankLayer unpack(std::span<const std::byte> bytes) {
  comm::Unpacker in(bytes);
  RankLayer layer;
  each_field(layer, [&](auto& field) { in.get(field); });
  return layer;
}

LayerReport join(LayerId id, std::span<const RankLayer> ranks, const Topology& topology) {
  const std::size_t n = ranks.size(), batches = ranks[0].times.size();
  LayerReport report{
      .layer = id, .dispatch = std::vector<std::int64_t>(n * n), .combine = std::vector<std::int64_t>(n * n)};
  constexpr double kSecond = 1e9;
  const double per_rank = kSecond * static_cast<double>(n);
  for (std::size_t to = 0; to < n; ++to) {
    for (std::size_t from = 0; from < n; ++from) {
      report.dispatch[from * n + to] = ranks[to].arrived.dispatch[from];
      report.combine[from * n + to] = ranks[to].arrived.combine[from];
      if (topology.node_of(GpuId(from)) != topology.node_of(GpuId(to))) {
        report.control_inter_node_bytes += ranks[to].arrived.control[from];
      }
    }
    for (const StepTimes& times : ranks[to].times) {
      report.seconds.dispatch += static_cast<double>(times.dispatch_ns) / per_rank;
      report.seconds.compute += static_cast<double>(times.compute_ns) / per_rank;
      report.seconds.combine += static_cast<double>(times.combine_ns) / per_rank;
      report.seconds.wait += static_cast<double>(times.wait_ns) / per_rank;
    }
    report.rows += ranks[to].rows;
    report.distinct_experts += static_cast<double>(ranks[to].distinct);
    report.max_abs_error = std::max(report.max_abs_error, ranks[to].max_abs_error);
    report.max_abs_reference = std::max(report.max_abs_reference, ranks[to].max_abs_reference);
  }
  std::int64_t asked = 0, filled = 0;
  for (const RankLayer& rank : ranks) {
    asked += rank.asked;
    filled += rank.filled;
  }
  report.asked_experts = static_cast<double>(asked) / static_cast<double>(std::max<std::int64_t>(1, filled));
  report.distinct_experts /= static_cast<double>(n * std::max<std::size_t>(1, batches));
  for (std::size_t b = 0; b < batches; ++b) {
    std::int64_t dispatch = 0, combine = 0;
    for (const RankLayer& rank : ranks) {
      dispatch = std::max(dispatch, rank.times[b].dispatch_ns);
      combine = std::max(combine, rank.times[b].combine_ns);
    }
    report.seconds.slowest_dispatch_combine += static_cast<double>(dispatch + combine) / kSecond;
  }
  return report;
}

/// Runs the layers of one rank.
class Replayer {
 public:
  Replayer(const artifact::Plan& plan, const trace::Trace& trace, std::span<const RequestSpan> requests,
           const Options& options, comm::Comm& comm, const Clock& clock)
      : plan_(plan),
        trace_(trace),
        options_(options),
        comm_(comm),
        gpu_(GpuId(comm.rank())),
        tokens_(own_tokens(requests, plan.placement.topology(), plan.attention, gpu_)),
        batches_(micro_batches(tokens_, options.batch_tokens)),
        stepper_(plan.placement.topology(), options, comm, clock) {}

  /// Ranks with fewer tokens take part in the last micro-batches with none.
  Status agree_on_batches() {
    std::vector<std::int64_t> counts(comm_.size());
    counts[comm_.rank()] = static_cast<std::int64_t>(batches_.size());
    MOESAIC_TRY(comm_.all_sum(counts));
    batches_.resize(static_cast<std::size_t>(*std::ranges::max_element(counts)));
    return {};
  }
  std::size_t batches() const { return batches_.size(); }

  Result<RankLayer> run_layer(std::size_t row) {
    const LayerId layer = plan_.placement.layers()[row];
    auto routed = route(trace_, tokens_, plan_.placement, row, gpu_, options_);
    MOESAIC_TRY(comm::agree(comm_, routed));
    const LayerRouting& routing = *routed;
    const std::size_t slots = plan_.placement.slots_per_gpu();
    const Experts experts(options_, layer, plan_.placement.layer(row).subspan(index(gpu_) * slots, slots));
    stepper_.forget_arrived();
    RankLayer out;
    for (const std::vector<std::uint32_t>& batch : batches_) {
      MOESAIC_TRY(run_batch(layer, routing, batch, experts, out));
    }
    out.arrived = stepper_.arrived();
    return out;
  }

 private:
  Status run_batch(LayerId layer, const LayerRouting& routing, std::span<const std::uint32_t> batch,
                   const Experts& experts, RankLayer& out) {
    std::vector<float> hidden, gates;
    std::vector<ExpertId> chosen;
    std::vector<GpuId> gpus;
    for (const std::uint32_t t : batch) {
      const std::vector<float> x = hidden_state(options_, layer, tokens_[t].store_token);
      hidden.insert(hidden.end(), x.begin(), x.end());
      for (std::size_t j = t * routing.k; j < (t + 1) * routing.k; ++j) {
        chosen.push_back(routing.experts[j]);
        gates.push_back(routing.gates[j]);
        gpus.push_back(routing.gpus[j]);
      }
    }
    MOESAIC_ASSIGN(
        const StepResult result,
        stepper_.run({.hidden = hidden, .k = routing.k, .experts = chosen, .gates = gates, .gpus = gpus},
                     experts));
    out.rows += static_cast<std::int64_t>(result.rows);
    out.asked += distinct_of(chosen);
    out.filled += batch.empty() ? 0 : 1;
    out.distinct += static_cast<std::int64_t>(result.distinct);
    out.times.push_back(result.times);
    for (std::size_t i = 0; i < batch.size(); ++i) {
      if (is_checked(batch[i])) check(layer, routing, batch[i], i, hidden, result.combined, out);
    }
    return {};
  }

  static std::int64_t distinct_of(std::vector<ExpertId> experts) {
    std::erase(experts, kMissingExpert);
    std::ranges::sort(experts);
    return std::ranges::unique(experts).begin() - experts.begin();
  }

  /// Evenly over the rank's tokens.
  bool is_checked(std::size_t token) const {
    const std::size_t wanted = std::min(options_.check_tokens, tokens_.size());
    return wanted > 0 && token * wanted / tokens_.size() != (token + 1) * wanted / tokens_.size();
  }

  void check(LayerId layer, const LayerRouting& routing, std::size_t token, std::size_t at,
             std::span<const float> hidden, std::span<const float> combined, RankLayer& out) const {
    const std::size_t h = options_.hidden;
    std::vector<double> expected(h);
    for (std::size_t j = token * routing.k; j < (token + 1) * routing.k; ++j) {
      if (routing.experts[j] == kMissingExpert) continue;
      const std::vector<double> y =
          reference_expert(options_, layer, index(routing.experts[j]), hidden.subspan(at * h, h));
      for (std::size_t d = 0; d < h; ++d) expected[d] += double{routing.gates[j]} * y[d];
    }
    for (std::size_t d = 0; d < h; ++d) {
      const double error = std::abs(double{combined[at * h + d]} - expected[d]);
      // What is no number is as wrong as can be; NaN itself would be lost in the next comparison.
      out.max_abs_error = std::max(out.max_abs_error, std::isnan(error) ? kInfinity : error);
      out.max_abs_reference = std::max(out.max_abs_reference, std::abs(expected[d]));
    }
    ++out.checked;
  }

  const artifact::Plan& plan_;
  const trace::Trace& trace_;
  const Options& options_;
  comm::Comm& comm_;
  GpuId gpu_;
  std::vector<Token> tokens_;
  std::vector<std::vector<std::uint32_t>> batches_;
  Stepper stepper_;
};

std::int64_t bytes_between(const LayerReport& layer, const Topology& topology, bool nodes) {
  const std::size_t n = topology.gpus();
  std::int64_t sum = 0;
  for (std::size_t from = 0; from < n; ++from) {
    for (std::size_t to = 0; to < n; ++to) {
      if ((topology.node_of(GpuId(from)) != topology.node_of(GpuId(to))) != nodes) continue;
      sum += layer.dispatch[from * n + to] + layer.combine[from * n + to];
    }
  }
  return sum;
}

}  // namespace

double tolerance(Wire wire) { return wire == Wire::kF32 ? 1e-5 : 0x1p-6; }

std::int64_t LayerReport::inter_node_bytes(const Topology& topology) const {
  return bytes_between(*this, topology, true);
}
std::int64_t LayerReport::intra_node_bytes(const Topology& topology) const {
  return bytes_between(*this, topology, false);
}

std::int64_t Report::inter_node_bytes() const {
  std::int64_t sum = 0;
  for (const LayerReport& layer : layers) sum += layer.inter_node_bytes(topology);
  return sum;
}
std::int64_t Report::intra_node_bytes() const {
  std::int64_t sum = 0;
  for (const LayerReport& layer : layers) sum += layer.intra_node_bytes(topology);
  return sum;
}
double Report::asked_experts() const {
  double sum = 0;
  for (const LayerReport& layer : layers) sum += layer.asked_experts;
  return sum;
}
Seconds Report::seconds() const {
  Seconds sum;
  for (const LayerReport& layer : layers) {
    sum.dispatch += layer.seconds.dispatch;
    sum.compute += layer.seconds.compute;
    sum.combine += layer.seconds.combine;
    sum.wait += layer.seconds.wait;
    sum.slowest_dispatch_combine += layer.seconds.slowest_dispatch_combine;
  }
  return sum;
}
double Report::max_abs_error() const {
  double most = 0;
  for (const LayerReport& layer : layers) most = std::max(most, layer.max_abs_error);
  return most;
}
bool Report::within_tolerance() const {
  return std::ranges::all_of(layers, [&](const LayerReport& layer) {
    return layer.max_abs_error <= tolerance(options.wire) * layer.max_abs_reference;
  });
}

Result<std::vector<std::string>> check_ranks(const Topology& topology, comm::Comm& comm,
                                             std::vector<std::string>& said) {
  if (comm.size() != topology.gpus()) {
    return bad_input(
        fmt::format("The job has {} ranks, the plan {} GPUs ({} nodes x {}); a rank is a GPU: start it with "
                    "mpirun -n {}.",
                    comm.size(), topology.gpus(), topology.nodes, topology.gpus_per_node, topology.gpus()));
  }
  const std::string mine = comm.host();
  MOESAIC_ASSIGN(const auto names, comm.all_gather(std::as_bytes(std::span(mine))));
  std::vector<std::string> hosts;
  for (const comm::Bytes& name : names) {
    hosts.emplace_back(reinterpret_cast<const char*>(name.data()), name.size());
  }
  std::map<std::string, std::size_t> node_of_host;
  bool shared = false;
  for (std::size_t g = 0; g < hosts.size(); ++g) {
    const std::size_t node = index(topology.node_of(GpuId(g))), first = node * topology.gpus_per_node;
    if (hosts[g] != hosts[first]) {
      return bad_input(fmt::format(
          "Node {} of the plan has ranks {} to {}, but rank {} runs on host {} and rank {} on {}; "
          "start {} ranks a host in order (mpirun --map-by ppr:{}:node).",
          node, first, first + topology.gpus_per_node - 1, first, hosts[first], g, hosts[g],
          topology.gpus_per_node, topology.gpus_per_node));
    }
    shared = shared || node_of_host.try_emplace(hosts[g], node).first->second != node;
  }
  if (shared) {
    said.push_back(
        fmt::format("{} nodes of the plan run on {} host{}: some of their traffic never leaves one, so "
                    "bytes are real and times are not those of a network.",
                    topology.nodes, node_of_host.size(), node_of_host.size() == 1 ? "" : "s"));
  }
  return hosts;
}

Result<Report> run(const artifact::Plan& plan, const trace::Trace& trace,
                   std::span<const RequestSpan> requests, const Options& options, comm::Comm& comm,
                   const Clock& clock, const Progress& progress) {
  const Topology& topology = plan.placement.topology();
  MOESAIC_CHECK(options.hidden > 0 && options.intermediate > 0 && options.batch_tokens > 0);
  MOESAIC_CHECK(plan.shape.layers == trace.shape().layers && plan.shape.experts == trace.shape().experts);
  Report report{.topology = topology, .options = options};
  for (const RequestSpan& span : requests) report.tokens += static_cast<std::int64_t>(span.count);
  Replayer replayer(plan, trace, requests, options, comm, clock);
  MOESAIC_TRY(replayer.agree_on_batches());
  report.batches = replayer.batches();
  for (std::size_t row = 0; row < plan.shape.layers.size(); ++row) {
    if (progress && comm.is_root()) progress(row);
    MOESAIC_ASSIGN(const RankLayer mine, replayer.run_layer(row));
    MOESAIC_ASSIGN(const auto all, comm.all_gather(pack(mine)));
    std::vector<RankLayer> ranks;
    for (const comm::Bytes& bytes : all) ranks.push_back(unpack(bytes));
    for (const RankLayer& rank : ranks) report.checked_tokens += rank.checked;
    report.layers.push_back(join(plan.shape.layers[row], ranks, topology));
  }
  return report;
}

}  // namespace moesaic::replay
