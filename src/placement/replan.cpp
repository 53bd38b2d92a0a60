#include "placement/replan.hpp"

#include <algorithm>
#include <limits>
#include <map>
#include <numeric>
#include <queue>

#include "core/check.hpp"
#include "placement/moesaic_layer.hpp"
#include "traffic/score.hpp"

namespace moesaic::placement {
namespace {

constexpr std::size_t kScoredRows = 200'000;     // of a layer; whole requests are left out evenly beyond
constexpr std::size_t kScoredWork = 40'000'000;  // rows x steps priced first; fewer rows are scored beyond
constexpr std::size_t kPartners = 8;             // experts a GPU offers in exchange for one
constexpr double kGpuCopyPrice = 0.1;            // of a node copy: links inside a node are that much faster

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

/// What may be done next on the way to `goal`: a chain of the difference, or a swap that brings one expert
/// where it belongs for any other of that GPU. Swaps make no second copy of an expert on a GPU.
std::vector<Chain> next_steps(std::span<const ExpertId> slots, std::span<const ExpertId> goal,
                              std::size_t gpus) {
  const std::size_t per_gpu = slots.size() / gpus;
  const auto on = [&](std::size_t gpu) { return slots.subspan(gpu * per_gpu, per_gpu); };
  const auto holds = [&](std::size_t gpu, ExpertId expert) {
    return std::ranges::find(on(gpu), expert) != on(gpu).end();
  };
  std::vector<Chain> steps = chains(slots, goal, gpus);
  for (const Edge& edge : edges_of(slots, goal, gpus)) {
    if (edge.from == gpus || edge.to == gpus || holds(edge.to, edge.expert)) continue;
    const std::size_t stride = (per_gpu + kPartners - 1) / kPartners;
    for (std::size_t i = index(edge.expert) % stride; i < per_gpu; i += stride) {
      const ExpertId other = on(edge.to)[i];
      if (holds(edge.from, other)) continue;
      steps.push_back({{.gpu = edge.to, .out = other, .in = edge.expert},
                       {.gpu = edge.from, .out = edge.expert, .in = other}});
    }
  }
  return steps;
}

/// A stretch of a layer's way that is gone whole, so that slopes fall from stretch to stretch.
struct Stretch {
  std::size_t layer = 0, first = 0, last = 0;  ///< steps [first, last)
  std::ptrdiff_t moves = 0;                    ///< below zero where experts come back
  double gain = 0;
};

class Way {
 public:
  Way(const Problem& problem, std::size_t row) : problem_(problem), row_(row) {}

  Status find(const Placement& goal) {
    const ModelShape& shape = problem_.demand.shape();
    MOESAIC_ASSIGN(const LayerDemand layer, problem_.demand.layer(row_));
    const auto start = problem_.from->layer(row_), end = goal.layer(row_);
    slots_.assign(start.begin(), start.end());
    limit_ = problem_.max_imbalance > 0 ? problem_.max_imbalance : kDefaultImbalance;
    const std::size_t gpus = problem_.topology.gpus();
    const std::size_t first = std::max<std::size_t>(1, next_steps(slots_, end, gpus).size());
    thin(layer, shape.top_k, std::min(kScoredRows, kScoredWork / first));
    value_ = value(slots_);
    // Whatever gains most, then what is left of the way.
    Prices prices;
    while (step(next_steps(slots_, end, gpus), true, prices)) {
    }
    prices.clear();
    while (step(chains(slots_, end, gpus), false, prices)) {
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
      result.push_back({.layer = row_, .first = i, .last = i + 1, .moves = moves_[i], .gain = gains_[i]});
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
  static double slope(const Stretch& s) {
    if (s.moves <= 0)
      return std::numeric_limits<double>::infinity();  // joins the one before, which has moves
    return s.gain / static_cast<double>(s.moves);
  }
  const Chain& taken(std::size_t i) const { return steps_[i]; }

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
  /// Experts that have moved so far.
  std::ptrdiff_t moved() const {
    const std::size_t gpus = problem_.topology.gpus();
    return std::ranges::count_if(edges_of(problem_.from->layer(row_), slots_, gpus),
                                 [&](const Edge& edge) { return edge.to != gpus; });
  }

  /// What a step led to when the layer was `version` steps on its way.
  struct Price {
    double after = 0, slope = 0;  ///< the value it leads to, and gain a move
    std::size_t version = 0;
  };
  using Prices = std::map<Chain, Price>;

  /// Carries out the step that gains most a move by prices that are renewed only when they lead (lazy
  /// greedy). False where there is none, or none that gains if it `must_gain`.
  bool step(const std::vector<Chain>& steps, bool must_gain, Prices& prices) {
    const std::size_t version = steps_.size();
    const auto price = [&](const Chain& chain) {
      std::vector<ExpertId> then = slots_;
      carry_out(chain, then);
      const double after = value(then);
      return Price{after, (value_ - after) / static_cast<double>(chain.size()), version};
    };
    struct Entry {
      Price price;
      std::size_t step = 0;
      bool operator<(const Entry& other) const {
        return price.slope != other.price.slope ? price.slope < other.price.slope : step > other.step;
      }
    };
    std::vector<Entry> entries;
    for (std::size_t i = 0; i < steps.size(); ++i) {
      const auto [known, fresh] = prices.try_emplace(steps[i]);
      if (fresh) known->second = price(steps[i]);
      entries.push_back({known->second, i});
    }
    for (std::priority_queue<Entry> queue({}, std::move(entries)); !queue.empty();) {
      const auto [best, i] = queue.top();
      if (best.version == version) {
        if (must_gain && best.slope <= 0) return false;
        const std::ptrdiff_t before = moved();
        carry_out(steps[i], slots_);
        moves_.push_back(moved() - before);
        steps_.push_back(steps[i]);
        gains_.push_back(value_ - best.after);
        value_ = best.after;
        return true;
      }
      queue.pop();
      queue.push({prices[steps[i]] = price(steps[i]), i});
    }
    return false;
  }

  /// Every n-th request, so that about `rows` rows stay.
  void thin(const LayerDemand& layer, std::size_t k, std::size_t rows) {
    const std::size_t keep_one_in = std::max<std::size_t>(1, layer.experts.size() / rows);
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
  double limit_ = 0, value_ = 0;
  std::vector<Chain> steps_;
  std::vector<std::ptrdiff_t> moves_;  ///< that each step adds
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
    const auto moves = static_cast<std::size_t>(stretch.moves);
    result.moves_to_goal += moves;
    reached += stretch.gain;
    result.curve.push_back({result.moves_to_goal, total > 0 ? reached / total : 0});
    if (closed[stretch.layer]) continue;
    if (result.moves + moves > max_moves) {
      closed[stretch.layer] = true;  // what follows builds on this one
      continue;
    }
    const auto mine = std::span(slots).subspan(stretch.layer * per_layer, per_layer);
    for (std::size_t i = stretch.first; i < stretch.last; ++i)
      ways[stretch.layer].carry_out(ways[stretch.layer].taken(i), mine);
    result.moves += moves;
  }
  MOESAIC_ASSIGN(result.placement,
                 Placement::make(problem.topology, problem.from->layers(), problem.from->experts(),
                                 problem.slots_per_gpu, std::move(slots)));
  return result;
}

}  // namespace moesaic::placement
