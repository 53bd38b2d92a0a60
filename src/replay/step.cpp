#include "replay/step.hpp"

#include <algorithm>
#include <limits>

#include "core/check.hpp"

namespace moesaic::replay {
namespace {

constexpr std::size_t kNoPeer = std::numeric_limits<std::size_t>::max();

}  // namespace

Stepper::Stepper(const Topology& topology, const Options& options, comm::Comm& comm, const Clock& clock)
    : topology_(topology), options_(options), comm_(comm), clock_(clock), gpu_(GpuId(comm.rank())) {
  MOESAIC_CHECK(comm.size() == topology.gpus());
  const NodeId node = topology.node_of(gpu_);
  peer_of_.assign(topology.gpus(), kNoPeer);
  for (std::size_t g = 0; g < topology.gpus(); ++g) {
    const GpuId other{static_cast<std::uint32_t>(g)};
    if (other == gpu_) continue;
    const bool same_node = topology.node_of(other) == node;
    if (same_node) node_peers_.push_back(g);
    // dedup reaches other nodes at the GPU of the same local index.
    if (same_node || options.mode == Mode::kPerExpert ||
        topology.local_index(other) == topology.local_index(gpu_)) {
      peer_of_[g] = peers_.size();
      peers_.push_back(g);
    }
  }
  forget_arrived();
}

void Stepper::forget_arrived() {
  const std::vector<std::int64_t> none(comm_.size());
  arrived_ = {.dispatch = none, .combine = none, .control = none};
}

std::vector<Stepper::Outgoing> Stepper::outgoing(const StepInput& input, Work& own,
                                                 std::vector<std::uint32_t>& own_token) const {
  const bool dedup = options_.mode == Mode::kDedup;
  const std::size_t h = options_.hidden, here = topology_.local_index(gpu_);
  const NodeId home = topology_.node_of(gpu_);
  std::vector<Outgoing> out(peers_.size());
  for (std::size_t t = 0; t * h < input.hidden.size(); ++t) {
    const auto hidden = input.hidden.subspan(t * h, h);
    // A row joins the token's copy, or is one: true where it made a new one.
    const auto add = [&](auto& to, std::vector<std::uint32_t>& tokens, const Row& row) {
      const bool fresh = !dedup || tokens.empty() || tokens.back() != t;
      if (fresh) {
        tokens.push_back(static_cast<std::uint32_t>(t));
        to.rows_of.push_back(0);
        to.vectors.insert(to.vectors.end(), hidden.begin(), hidden.end());
      }
      ++to.rows_of.back();
      to.rows.push_back(row);
      return fresh;
    };
    for (std::size_t j = 0; j < input.k; ++j) {
      const ExpertId expert = input.experts[t * input.k + j];
      if (expert == kMissingExpert) continue;
      const GpuId gpu = input.gpus[t * input.k + j];
      const NodeId node = topology_.node_of(gpu);
      const float gate = input.gates[t * input.k + j];
      Row row{static_cast<std::uint16_t>(index(expert)),
              static_cast<std::uint16_t>(topology_.local_index(gpu)), gate};
      if (gpu == gpu_) {
        add(own, own_token, row);
        continue;
      }
      if (!dedup) row.gate = 1;  // the home multiplies
      Outgoing& to = out[peer_at(!dedup || node == home ? gpu : topology_.gpu(node, here))];
      if (add(to.copies, to.token, row)) to.gate.push_back(dedup ? 1 : gate);
    }
  }
  return out;
}

Result<std::vector<Copies>> Stepper::send_copies(std::span<const std::size_t> peers,
                                                 std::span<const Copies* const> out) {
  std::vector<comm::Bytes> messages;
  for (const Copies* copies : out) messages.push_back(encode(*copies, options_.wire));
  MOESAIC_ASSIGN(const std::vector<comm::Bytes> in, comm_.exchange(peers, messages));
  std::vector<Copies> copies;
  for (std::size_t i = 0; i < peers.size(); ++i) {
    Received received = decode(in[i], options_);
    arrived_.dispatch[peers[i]] += static_cast<std::int64_t>(received.payload_bytes);
    arrived_.control[peers[i]] += static_cast<std::int64_t>(received.control_bytes);
    copies.push_back(std::move(received.copies));
  }
  return copies;
}

Result<std::vector<std::vector<float>>> Stepper::send_results(std::span<const std::size_t> peers,
                                                              const std::vector<std::vector<float>>& out) {
  std::vector<comm::Bytes> messages;
  for (const std::vector<float>& vectors : out) messages.push_back(encode_vectors(vectors, options_.wire));
  MOESAIC_ASSIGN(const std::vector<comm::Bytes> in, comm_.exchange(peers, messages));
  std::vector<std::vector<float>> results;
  for (std::size_t i = 0; i < peers.size(); ++i) {
    arrived_.combine[peers[i]] += static_cast<std::int64_t>(in[i].size());
    results.push_back(decode_vectors(in[i], options_.wire));
  }
  return results;
}

void Stepper::compute(std::span<Work* const> work, const Experts& experts, StepResult& result) const {
  struct Item {
    std::uint16_t expert;
    Work* work;
    std::size_t copy;
    float gate;
  };
  const std::size_t h = options_.hidden;
  std::vector<Item> items;
  for (Work* const w : work) {
    w->sums.assign(w->vectors.size(), 0.0f);
    std::size_t row = 0;
    for (std::size_t copy = 0; copy < w->rows_of.size(); ++copy) {
      for (std::uint32_t i = 0; i < w->rows_of[copy]; ++i, ++row) {
        items.push_back({w->rows[row].expert, w, copy, w->rows[row].gate});
      }
    }
  }
  std::ranges::stable_sort(items, {}, &Item::expert);
  std::vector<float> x, y;
  for (std::size_t begin = 0; begin < items.size();) {
    std::size_t end = begin;
    x.clear();
    for (; end < items.size() && items[end].expert == items[begin].expert; ++end) {
      const auto vector = std::span(items[end].work->vectors).subspan(items[end].copy * h, h);
      x.insert(x.end(), vector.begin(), vector.end());
    }
    y.resize(x.size());
    experts.run(items[begin].expert, x, y);
    for (std::size_t i = begin; i < end; ++i) {
      const auto sum = std::span(items[i].work->sums).subspan(items[i].copy * h, h);
      for (std::size_t d = 0; d < h; ++d) sum[d] += items[i].gate * y[(i - begin) * h + d];
    }
    ++result.distinct;
    begin = end;
  }
  result.rows = items.size();
}

Stepper::Work Stepper::keep(Copies&& in, std::size_t peer, std::vector<Onward>& onward) const {
  const std::size_t h = options_.hidden, here = topology_.local_index(gpu_);
  Work work;
  std::size_t row = 0;
  for (std::size_t copy = 0; copy < in.count(); ++copy) {
    std::uint32_t kept = 0;
    for (std::uint32_t i = 0; i < in.rows_of[copy]; ++i, ++row) {
      const Row& wanted = in.rows[row];
      if (wanted.local == here) {
        work.rows.push_back(wanted);
        ++kept;
        continue;
      }
      Onward& to = onward[wanted.local < here ? wanted.local : wanted.local - 1u];
      if (to.from.empty() || to.from.back() != std::pair(peer, copy)) {
        to.from.emplace_back(peer, copy);
        to.copies.rows_of.push_back(0);
        const auto vector = std::span(in.vectors).subspan(copy * h, h);
        to.copies.vectors.insert(to.copies.vectors.end(), vector.begin(), vector.end());
      }
      ++to.copies.rows_of.back();
      to.copies.rows.push_back(wanted);
    }
    work.rows_of.push_back(kept);
  }
  work.vectors = std::move(in.vectors);
  return work;
}

Status Stepper::dispatch(const StepInput& input, Transit& transit) {
  transit.outgoing = outgoing(input, transit.own, transit.own_token);
  std::vector<const Copies*> out;
  for (const Outgoing& to : transit.outgoing) out.push_back(&to.copies);
  MOESAIC_ASSIGN(std::vector<Copies> in, send_copies(peers_, out));
  transit.onward.resize(node_peers_.size());
  for (std::size_t p = 0; p < peers_.size(); ++p) {
    transit.from_peers.push_back(keep(std::move(in[p]), p, transit.onward));
  }
  if (!two_hops()) return {};
  out.clear();
  for (const Onward& to : transit.onward) out.push_back(&to.copies);
  MOESAIC_ASSIGN(std::vector<Copies> passed, send_copies(node_peers_, out));
  for (Copies& copies : passed) {
    transit.from_node.push_back(
        {std::move(copies.rows_of), std::move(copies.rows), std::move(copies.vectors), {}});
  }
  return {};
}

Result<std::vector<float>> Stepper::combine(std::size_t tokens, Transit& transit) {
  const std::size_t h = options_.hidden;
  if (two_hops()) {
    // Partial sums of a node meet where the copy landed.
    std::vector<std::vector<float>> sums;
    for (Work& work : transit.from_node) sums.push_back(std::move(work.sums));
    MOESAIC_ASSIGN(const auto partial, send_results(node_peers_, sums));
    for (std::size_t to = 0; to < node_peers_.size(); ++to) {
      const auto& from = transit.onward[to].from;
      MOESAIC_CHECK(partial[to].size() == from.size() * h);
      for (std::size_t i = 0; i < from.size(); ++i) {
        float* const sum = transit.from_peers[from[i].first].sums.data() + from[i].second * h;
        for (std::size_t d = 0; d < h; ++d) sum[d] += partial[to][i * h + d];
      }
    }
  }
  std::vector<std::vector<float>> sums;
  for (Work& work : transit.from_peers) sums.push_back(std::move(work.sums));
  MOESAIC_ASSIGN(const auto results, send_results(peers_, sums));
  std::vector<float> combined(tokens * h);
  const auto add = [&](std::uint32_t token, float gate, const float* vector) {
    float* const sum = combined.data() + token * h;
    for (std::size_t d = 0; d < h; ++d) sum[d] += gate * vector[d];
  };
  for (std::size_t i = 0; i < transit.own_token.size(); ++i) {
    add(transit.own_token[i], 1, transit.own.sums.data() + i * h);
  }
  for (std::size_t p = 0; p < peers_.size(); ++p) {
    const Outgoing& to = transit.outgoing[p];
    MOESAIC_CHECK(results[p].size() == to.token.size() * h);
    for (std::size_t i = 0; i < to.token.size(); ++i) add(to.token[i], to.gate[i], results[p].data() + i * h);
  }
  return combined;
}

Result<StepResult> Stepper::run(const StepInput& input, const Experts& experts) {
  StepResult result;
  Transit transit;
  Nanoseconds mark = clock_.now();
  const auto lap = [&] {
    const Nanoseconds begin = mark;
    mark = clock_.now();
    return (mark - begin).count();
  };
  MOESAIC_TRY(comm_.barrier());
  result.times.wait_ns = lap();
  MOESAIC_TRY(dispatch(input, transit));
  result.times.dispatch_ns = lap();
  std::vector<Work*> work = {&transit.own};
  for (Work& from : transit.from_peers) work.push_back(&from);
  for (Work& from : transit.from_node) work.push_back(&from);
  compute(work, experts, result);
  result.times.compute_ns = lap();
  MOESAIC_TRY(comm_.barrier());
  result.times.wait_ns += lap();
  MOESAIC_ASSIGN(result.combined, combine(input.hidden.size() / options_.hidden, transit));
  result.times.combine_ns = lap();
  return result;
}

}  // namespace moesaic::replay
