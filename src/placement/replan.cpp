#include "placement/replan.hpp"

#include <algorithm>
#include <numeric>
#include <queue>

#include "core/check.hpp"
#include "placement/moesaic_layer.hpp"
#include "traffic/score.hpp"

namespace moesaic::placement {
namespace {

constexpr std::size_t kScoredRows = 200'000;  // of a layer; whole requests are left out evenly beyond
constexpr double kGpuCopyPrice = 0.1;         // of a node copy: links inside a node are that much faster

/// An expert goes from one GPU to another; `gpus` stands for outside (a new or a dropped copy).
struct Edge {
  std::size_t from = 0, to = 0;
  ExpertId expert{};
};

std::vector<Edge> edges_of(std::span<const ExpertId> from, std::span<const ExpertId> to, std::size_t gpus) {
  const std::size_t per_gpu = from.size() / gpus;
  struct Ends {
    std::vector<std::size_t> leave, arrive;
  };
  std::size_t ids = 0;
  for (const auto slots : {from, to}) ids = std::max(ids, index(std::ranges::max(slots)) + 1);
  std::vector<Ends> ends(ids);
  std::vector<ExpertId> touched;
  for (std::size_t gpu = 0; gpu < gpus; ++gpu) {
    const auto held = from.subspan(gpu * per_gpu, per_gpu), wanted = to.subspan(gpu * per_gpu, per_gpu);
    std::vector<ExpertId> left(held.begin(), held.end());
    for (const ExpertId expert : wanted) {
      const auto kept = std::ranges::find(left, expert);
      if (kept != left.end()) {
        left.erase(kept);
      } else {
        ends[index(expert)].arrive.push_back(gpu);
        touched.push_back(expert);
      }
    }
    for (const ExpertId expert : left) {
      ends[index(expert)].leave.push_back(gpu);
      touched.push_back(expert);
    }
  }
  std::ranges::sort(touched);
  touched.erase(std::unique(touched.begin(), touched.end()), touched.end());
  std::vector<Edge> edges;
  for (const ExpertId expert : touched) {
    const Ends& e = ends[index(expert)];
    for (std::size_t i = 0; i < std::max(e.leave.size(), e.arrive.size()); ++i) {
      edges.push_back(
          {i < e.leave.size() ? e.leave[i] : gpus, i < e.arrive.size() ? e.arrive[i] : gpus, expert});
    }
  }
  return edges;
}

/// Edges of a shortest cycle through `start` among those not used, in order; empty if there is none.
std::vector<std::size_t> shortest_cycle(const std::vector<Edge>& edges, const std::vector<bool>& used,
                                        std::size_t vertices, std::size_t start) {
  constexpr std::size_t kNone = ~std::size_t{0};
  std::vector<std::size_t> by(vertices, kNone);  // edge a vertex was reached by
  std::vector<std::size_t> queue = {start};
  for (std::size_t head = 0; head < queue.size(); ++head) {
    for (std::size_t i = 0; i < edges.size(); ++i) {
      if (used[i] || edges[i].from != queue[head] || by[edges[i].to] != kNone) continue;
      by[edges[i].to] = i;
      if (edges[i].to != start) {
        queue.push_back(edges[i].to);
        continue;
      }
      std::vector<std::size_t> cycle;
      for (std::size_t at = i;; at = by[edges[at].from]) {
        cycle.push_back(at);
        if (edges[at].from == start) break;
      }
      std::ranges::reverse(cycle);
      return cycle;
    }
  }
  return {};
}

}  // namespace

std::vector<Chain> chains(std::span<const ExpertId> from, std::span<const ExpertId> to, std::size_t gpus) {
  MOESAIC_CHECK(from.size() == to.size() && gpus > 0 && from.size() % gpus == 0);
  const std::vector<Edge> edges = edges_of(from, to, gpus);
  std::vector<bool> used(edges.size());
  std::vector<Chain> result;
  std::size_t left = edges.size();
  for (std::size_t length = 1; left > 0; ++length) {
    for (std::size_t start = 0; start <= gpus; ++start) {
      while (true) {
        const std::vector<std::size_t> cycle = shortest_cycle(edges, used, gpus + 1, start);
        if (cycle.empty() || cycle.size() > length) break;
        Chain chain;
        for (std::size_t i = 0; i < cycle.size(); ++i) {
          const Edge& in = edges[cycle[i]];
          used[cycle[i]] = true;
          if (in.to == gpus) continue;  // a dropped copy moves nothing
          chain.push_back(
              {.gpu = in.to, .out = edges[cycle[(i + 1) % cycle.size()]].expert, .in = in.expert});
        }
        left -= cycle.size();
        result.push_back(std::move(chain));
      }
    }
  }
  return result;
}

namespace {

/// A stretch of a layer's way that is gone whole, so that slopes fall from stretch to stretch.
struct Stretch {
  std::size_t layer = 0, first = 0, last = 0;  ///< steps [first, last)
  std::size_t moves = 0;
  double gain = 0;
};

class Way {
 public:
  Way(const Problem& problem, std::size_t row) : problem_(problem), row_(row) {}

  Status find(const Placement& goal) {
    const ModelShape& shape = problem_.demand.shape();
    MOESAIC_ASSIGN(const LayerDemand layer, problem_.demand.layer(row_));
    thin(layer, shape.top_k);
    const auto start = problem_.from->layer(row_);
    slots_.assign(start.begin(), start.end());
    limit_ = problem_.max_imbalance > 0 ? problem_.max_imbalance : kDefaultImbalance;
    const std::vector<Chain> all = chains(start, goal.layer(row_), problem_.topology.gpus());
    struct Priced {
      double slope = 0, after = 0;  ///< gain a move, and the value it leads to
      std::size_t chain = 0, stamp = 0;
      bool operator<(const Priced& other) const {
        return slope != other.slope ? slope < other.slope : chain > other.chain;
      }
    };
    double now = value(slots_);
    const auto price = [&](std::size_t c, std::size_t stamp) {
      std::vector<ExpertId> then = slots_;
      carry_out(all[c], then);
      const double after = value(then);
      return Priced{(now - after) / static_cast<double>(all[c].size()), after, c, stamp};
    };
    std::priority_queue<Priced> queue;
    for (std::size_t c = 0; c < all.size(); ++c) queue.push(price(c, 0));
    for (std::size_t stamp = 0; !queue.empty();) {
      const Priced top = queue.top();
      queue.pop();
      if (top.stamp != stamp) {  // priced before the last step
        queue.push(price(top.chain, stamp));
        continue;
      }
      carry_out(all[top.chain], slots_);
      steps_.push_back(all[top.chain]);
      gains_.push_back(now - top.after);
      now = top.after;
      ++stamp;
    }
    return {};
  }

  /// Stretches of falling slope up to where the gain is largest (pool adjacent violators).
  std::vector<Stretch> stretches() const {
    double sum = 0, best = 0;
    std::size_t end = 0;
    for (std::size_t i = 0; i < gains_.size(); ++i) {
      sum += gains_[i];
      if (sum > best) best = sum, end = i + 1;
    }
    std::vector<Stretch> result;
    for (std::size_t i = 0; i < end; ++i) {
      result.push_back(
          {.layer = row_, .first = i, .last = i + 1, .moves = steps_[i].size(), .gain = gains_[i]});
      while (result.size() > 1 && slope(result.back()) >= slope(result[result.size() - 2])) {
        const Stretch merged = result.back();
        result.pop_back();
        result.back().last = merged.last;
        result.back().moves += merged.moves;
        result.back().gain += merged.gain;
      }
    }
    return result;
  }
  static double slope(const Stretch& s) { return s.gain / static_cast<double>(s.moves); }
  const Chain& step(std::size_t i) const { return steps_[i]; }

  void carry_out(const Chain& chain, std::span<ExpertId> slots) const {
    const std::size_t per_gpu = problem_.slots_per_gpu;
    for (const Change& change : chain) {
      const auto gpu = slots.subspan(change.gpu * per_gpu, per_gpu);
      const auto slot = std::ranges::find(gpu, change.out);
      MOESAIC_CHECK(slot != gpu.end());
      *slot = change.in;
    }
  }

 private:
  /// Every n-th request, so that about kScoredRows rows stay.
  void thin(const LayerDemand& layer, std::size_t k) {
    const std::size_t keep_one_in = std::max<std::size_t>(1, layer.experts.size() / kScoredRows);
    for (std::size_t s = 0; s < layer.segments.size(); s += keep_one_in) {
      traffic::Segment segment = layer.segments[s];
      const auto part = std::span(layer.experts).subspan(segment.begin * k, segment.count * k);
      segment.begin = tokens_.size() / k;
      tokens_.insert(tokens_.end(), part.begin(), part.end());
      segments_.push_back(segment);
    }
  }

  traffic::LayerTraffic score(std::span<const ExpertId> slots) const {
    const ModelShape& shape = problem_.demand.shape();
    const traffic::LayerTokens tokens{shape.layers[row_], shape.top_k, tokens_, segments_};
    return traffic::score_layer(tokens, problem_.topology, shape.experts, slots, problem_.objective);
  }

  /// Rows of every node, and of all.
  std::pair<std::vector<std::int64_t>, std::int64_t> node_rows(const traffic::LayerTraffic& traffic) const {
    std::vector<std::int64_t> nodes(problem_.topology.nodes);
    for (std::size_t g = 0; g < traffic.gpu_rows.size(); ++g)
      nodes[index(problem_.topology.node_of(GpuId(g)))] += traffic.gpu_rows[g];
    return {nodes, std::accumulate(nodes.begin(), nodes.end(), std::int64_t{0})};
  }
  double value(std::span<const ExpertId> slots) const {
    const traffic::LayerTraffic traffic = score(slots);
    const traffic::Copies& copies = problem_.per_expert ? traffic.per_expert : traffic.dedup;
    const auto [nodes, total] = node_rows(traffic);
    double above = 0;
    for (const std::vector<std::int64_t>* rows : {&nodes, &traffic.gpu_rows}) {
      const double most = limit_ * static_cast<double>(total) / static_cast<double>(rows->size());
      for (const std::int64_t load : *rows) above += std::max(0.0, static_cast<double>(load) - most);
    }
    return static_cast<double>(copies.node) + kGpuCopyPrice * static_cast<double>(copies.gpu) + above;
  }

  const Problem& problem_;
  std::size_t row_;
  std::vector<ExpertId> tokens_, slots_;
  std::vector<traffic::Segment> segments_;
  double limit_ = 0;
  std::vector<Chain> steps_;
  std::vector<double> gains_;
};

}  // namespace

Result<Replan> replan(const Problem& problem, const Placement& goal, std::size_t max_moves) {
  MOESAIC_CHECK(problem.from != nullptr);
  MOESAIC_TRY(running_placement(problem));
  const std::size_t layers = problem.demand.shape().layers.size();
  std::vector<Way> ways;
  for (std::size_t row = 0; row < layers; ++row) ways.emplace_back(problem, row);
  const auto find = [&](std::size_t row) { return ways[row].find(goal); };
  if (problem.pool != nullptr) {
    MOESAIC_TRY(problem.pool->try_parallel_for(layers, find));
  } else {
    for (std::size_t row = 0; row < layers; ++row) MOESAIC_TRY(find(row));
  }
  std::vector<Stretch> all;
  for (const Way& way : ways) {
    const std::vector<Stretch> mine = way.stretches();
    all.insert(all.end(), mine.begin(), mine.end());
  }
  // Stable: a layer's stretches have falling slopes, so they stay in order.
  std::ranges::stable_sort(all,
                           [](const Stretch& a, const Stretch& b) { return Way::slope(a) > Way::slope(b); });

  double total = 0;
  for (const Stretch& stretch : all) total += stretch.gain;
  std::vector<ExpertId> slots(problem.from->all_slots().begin(), problem.from->all_slots().end());
  const std::size_t per_layer = problem.from->slots();
  Replan result{.placement = *problem.from, .moves = 0, .moves_to_goal = 0, .curve = {{}}};
  std::vector<bool> closed(layers);
  double reached = 0;
  for (const Stretch& stretch : all) {
    result.moves_to_goal += stretch.moves;
    reached += stretch.gain;
    result.curve.push_back({result.moves_to_goal, total > 0 ? reached / total : 0});
    if (closed[stretch.layer]) continue;
    if (result.moves + stretch.moves > max_moves) {
      closed[stretch.layer] = true;  // what follows builds on this one
      continue;
    }
    const auto mine = std::span(slots).subspan(stretch.layer * per_layer, per_layer);
    for (std::size_t i = stretch.first; i < stretch.last; ++i)
      ways[stretch.layer].carry_out(ways[stretch.layer].step(i), mine);
    result.moves += stretch.moves;
  }
  MOESAIC_ASSIGN(result.placement,
                 Placement::make(problem.topology, problem.from->layers(), problem.from->experts(),
                                 problem.slots_per_gpu, std::move(slots)));
  return result;
}

}  // namespace moesaic::placement
