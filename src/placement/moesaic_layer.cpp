#include "placement/moesaic_layer.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "core/random.hpp"
#include "placement/bounds.hpp"
#include "placement/partition_search.hpp"
#include "placement/patterns_table.hpp"
#include "placement/pinned_starts.hpp"
#include "placement/replicas.hpp"
#include "placement/unseen_loads.hpp"

namespace moesaic::placement {
namespace {

/// Rows (tokens x k) of a layer that are searched over; more tokens are thinned evenly. Beyond this the
/// copies an assignment saves hardly change with the sample: at 256 experts on 8 nodes a quarter of it
/// costs 0.2 %.
constexpr std::size_t kSearchRows = 600'000;

/// Limits, over the most even assignment, that a front is searched at. A walk goes to and fro over its limit,
/// so these cover what lies between.
constexpr double kFrontLimits[] = {1.03, 1.06, 1.1, 1.2};
/// The same for the GPUs of a node.
constexpr double kGpuFrontLimits[] = {1.0, 1.04};

/// Loads of a layer as integers that sum to about 2^40.
std::vector<std::int64_t> integer_loads(std::span<const double> loads) {
  const double total = std::accumulate(loads.begin(), loads.end(), 0.0);
  std::vector<std::int64_t> result(loads.size(), 1);
  if (total <= 0) return result;
  for (std::size_t e = 0; e < loads.size(); ++e) result[e] = std::llround(loads[e] / total * 0x1p40);
  return result;
}

class LayerPlan {
 public:
  LayerPlan(const Problem& problem, std::size_t row)
      : problem_(problem),
        row_(row),
        topology_(problem.topology),
        experts_(problem.demand.shape().experts),
        node_slots_(problem.slots_per_gpu * topology_.gpus_per_node),
        replicas_(node_slots_ * topology_.nodes > experts_),
        loads_(integer_loads(problem.demand.loads().subspan(row * experts_, experts_))),
        random_(problem.seed, row) {
    total_ = static_cast<double>(std::accumulate(loads_.begin(), loads_.end(), std::int64_t{0}));
    for (std::size_t g = 0; g < topology_.gpus(); ++g) {
      node_of_gpu_.push_back(static_cast<std::uint16_t>(index(topology_.node_of(GpuId(g)))));
      index_of_gpu_.push_back(static_cast<std::uint16_t>(topology_.local_index(GpuId(g))));
    }
    for (const Pin& pin : problem.pins) {
      if (pin.row == row) pins_.push_back(pin);
    }
  }

  /// REQUIRES: no replicas.
  LayerFront front(const traffic::LayerTokens& tokens) {
    const PatternTable table = at_nodes(
        token_patterns(tokens, topology_, problem_.objective.attention, experts_, pattern_options(tokens)));
    std::vector<std::vector<std::uint16_t>> starts{balanced_assignment(loads_, topology_.nodes),
                                                   demand_assignment(table, node_slots_)};
    const std::int64_t evenest = largest_load(loads_, starts[0], topology_.nodes);
    const UnseenLoads unseen(tokens, experts_);
    LayerFront front{.evenest = unseen.imbalance(starts[0], topology_.nodes)};
    std::vector<double> limits(std::begin(kFrontLimits), std::end(kFrontLimits));
    const double wanted = problem_.mean_imbalance / front.evenest;  // a layer may take more, or less
    for (const double share : {0.5, 1.0, 1.5}) {
      if (const double limit = 1 + share * (wanted - 1); limit > limits.back()) limits.push_back(limit);
    }
    const PartitionFront met = walk_front(table, loads_, evenest, limits, std::move(starts));
    for (std::size_t s = 0; s < PartitionFront::kSteps; ++s) {
      const PartitionFront::Point& point = met.step(s);
      const bool any = !point.part_of_item.empty();
      front.copies.push_back(any ? point.copies : -1);
      front.imbalance.push_back(any ? unseen.imbalance(point.part_of_item, topology_.nodes) : 0);
      front.node_of_expert.push_back(point.part_of_item);
    }
    return front;
  }

  /// `given`: node of every expert, or empty to search for it.
  RowCopies place(const LayerDemand& demand, std::span<const std::uint16_t> given,
                  std::span<ExpertId> slots) {
    const ModelShape& shape = problem_.demand.shape();
    const traffic::LayerTokens tokens = demand.view(shape.layers[row_], shape.top_k);
    PatternOptions options = pattern_options(tokens);
    options.weights = demand.weights;
    if (!replicas_) {
      const PatternTable sources =
          token_patterns(tokens, topology_, problem_.objective.attention, experts_, options);
      classes_ = {RowClass{}};
      const PatternTable nodes = at_nodes(sources);
      if (!given.empty()) unseen_.emplace(tokens, experts_);
      const auto node_of = given.empty()
                               ? partition(nodes, loads_, topology_.nodes, fixed_nodes(), running_nodes())
                               : std::vector(given.begin(), given.end());
      for (std::size_t e = 0; e < experts_; ++e) holders_.push_back({node_of[e]});
      fill_nodes(sources, loads_, slots);
      return row_copies(tokens, options, nodes, connectivity_cost(nodes, node_of));
    }
    classes_ = node_classes(topology_, problem_.objective.rule);
    const PatternTable sources = class_patterns(tokens, topology_, problem_.objective, experts_, options);
    const PatternTable nodes = at_nodes(sources);
    const auto item_loads = loads_of_classes(sources);
    const std::vector<std::uint8_t> pinned = pinned_nodes();
    const ReplicaProblem problem{.table = nodes,
                                 .experts = experts_,
                                 .classes = classes_,
                                 .capacity = node_slots_,
                                 .copies_a_part = (node_slots_ + experts_ - 1) / experts_,
                                 .copies = most_copies(),
                                 .pinned = pinned,
                                 .load_of_item = item_loads,
                                 .load_limit = limit(topology_.nodes)};
    std::vector<Holders> starts = {demand_holders(problem), first_copies(tokens, options)};
    for (Holders& start : starts) obey(problem, start);
    ReplicaStats stats;
    holders_ = search_replicas(problem, starts, replica_options(), random_, &stats);
    fill_nodes(sources, item_loads, slots);
    return row_copies(tokens, options, nodes, stats.cost);
  }

 private:
  double factor() const { return problem_.max_imbalance > 0 ? problem_.max_imbalance : kDefaultImbalance; }
  /// Load that one of `bins` equal shares of the layer may carry.
  std::int64_t limit(std::size_t bins) const {
    return static_cast<std::int64_t>(factor() * total_ / static_cast<double>(bins));
  }

  PatternOptions pattern_options(const traffic::LayerTokens& tokens) const {
    return {.single_rows = problem_.per_expert,
            .max_tokens = std::max<std::size_t>(1, kSearchRows / tokens.k)};
  }

  RowCopies row_copies(const traffic::LayerTokens& tokens, const PatternOptions& options,
                       const PatternTable& nodes, std::int64_t found) const {
    if (!problem_.per_expert && tokens.k > 1) return {};
    std::size_t all = 0;
    for (const traffic::Segment& segment : tokens.segments) all += segment.count;
    return {.counted = true,
            .thinned = all > options.max_tokens,
            .found = found,
            .bound = row_copies_bound(nodes, classes_.size(), node_slots_)};
  }

  /// Node that each expert is pinned to, or kFree; empty without pins. Without replicas it has one pin at
  /// most.
  std::vector<std::uint16_t> fixed_nodes() const {
    std::vector<std::uint16_t> fixed(pins_.empty() ? 0 : experts_, kFree);
    for (const Pin& pin : pins_) fixed[index(pin.expert)] = pin.node;
    return fixed;
  }
  /// GPU, by index in the node, that each expert in members_ is pinned to, or kFree.
  std::vector<std::uint16_t> fixed_gpus(std::size_t node) const {
    std::vector<std::uint16_t> fixed(pins_.empty() ? 0 : members_.size(), kFree);
    for (const Pin& pin : pins_) {
      if (pin.node == node && pin.gpu != Pin::kAnyGpu) fixed[member(index(pin.expert))] = pin.gpu;
    }
    return fixed;
  }
  /// The same of copies: [experts, nodes] and [members, GPUs], != 0 where one stays; empty without pins.
  std::vector<std::uint8_t> pinned_nodes() const {
    std::vector<std::uint8_t> pinned(pins_.empty() ? 0 : experts_ * topology_.nodes);
    for (const Pin& pin : pins_) pinned[index(pin.expert) * topology_.nodes + pin.node] = 1;
    return pinned;
  }
  std::vector<std::uint8_t> pinned_gpus(std::size_t node) const {
    const std::vector<std::uint16_t> fixed = fixed_gpus(node);
    std::vector<std::uint8_t> pinned(fixed.size() * topology_.gpus_per_node);
    for (std::size_t m = 0; m < fixed.size(); ++m) {
      if (fixed[m] != kFree) pinned[m * topology_.gpus_per_node + fixed[m]] = 1;
    }
    return pinned;
  }
  std::size_t member(std::size_t expert) const {
    return static_cast<std::size_t>(std::ranges::find(members_, expert) - members_.begin());
  }

  PatternTable at_nodes(const PatternTable& sources) const {
    std::vector<std::uint32_t> same(sources.item_count);
    std::iota(same.begin(), same.end(), 0u);
    return project(sources, same, same.size(), node_of_gpu_, topology_.nodes);
  }

  ReplicaOptions replica_options() const {
    return {.iterations = 1000 * problem_.effort, .stale = 250 * problem_.effort};
  }

  /// Counters are told apart exactly up to four copies; more only where the slots force it.
  std::size_t most_copies() const {
    if (classes_[0].source != RowClass::kNoSource) return 0;
    return std::max<std::size_t>(4, (node_slots_ * topology_.nodes + experts_ - 1) / experts_);
  }

  /// The load of an expert, split over its classes as its rows are.
  std::vector<std::int64_t> loads_of_classes(const PatternTable& table) const {
    const auto rows = item_rows(table);
    const std::size_t classes = classes_.size();
    std::vector<std::int64_t> loads(rows.size());
    for (std::size_t e = 0; e < experts_; ++e) {
      const std::int64_t all =
          std::accumulate(&rows[e * classes], &rows[e * classes] + classes, std::int64_t{0});
      for (std::size_t c = 0; c < classes; ++c) {
        const double share = all > 0 ? static_cast<double>(rows[e * classes + c]) / static_cast<double>(all)
                                     : 1.0 / static_cast<double>(classes);
        loads[e * classes + c] = std::llround(share * static_cast<double>(loads_[e]));
      }
    }
    return loads;
  }

  /// One copy of every expert, where it saves most; the search adds the others.
  Holders first_copies(const traffic::LayerTokens& tokens, const PatternOptions& options) {
    Holders first;
    const PatternTable plain =
        at_nodes(token_patterns(tokens, topology_, problem_.objective.attention, experts_, options));
    std::vector<std::uint16_t> node_of;
    if (experts_ % topology_.nodes == 0) {
      node_of = partition(plain, loads_, topology_.nodes, {});
    } else {
      node_of = demand_assignment(plain, node_slots_);
    }
    for (const std::uint16_t node : node_of) first.push_back({node});
    return first;
  }

  /// Tabu search from an even, a demand-driven and random starts. `bins` is how many parts share the
  /// layer's whole load: the mean the limit refers to.
  /// With a running assignment the search starts there and nowhere else, so that it ends near.
  std::vector<std::uint16_t> partition(const PatternTable& table, std::span<const std::int64_t> loads,
                                       std::size_t bins, const std::vector<std::uint16_t>& fixed,
                                       std::vector<std::uint16_t> running = {}) {
    std::vector<std::vector<std::uint16_t>> starts{balanced_assignment(loads, table.part_count)};
    if (table.part_count == 1) return starts[0];
    obey(fixed, loads, starts[0]);
    const SearchOptions options{.iterations = 1000 * problem_.effort, .stale = 200, .fixed = fixed};
    const Loads limits{.of_item = loads,
                       .limit = std::max(limit(bins), largest_load(loads, starts[0], table.part_count))};
    if (!running.empty()) {
      starts = {std::move(running)};
      obey(fixed, loads, starts[0]);
      return search_partition(table, limits, starts, options, random_);
    }
    starts.push_back(demand_assignment(table, loads.size() / table.part_count));
    for (std::uint64_t i = 0; i < problem_.effort; ++i) {
      starts.push_back(starts[0]);
      shuffle(std::span(starts.back()), random_);
    }
    for (std::vector<std::uint16_t>& start : starts) obey(fixed, loads, start);
    return search_partition(table, limits, starts, options, random_);
  }

  /// GPU of every member of a node: of the splits that a search for few copies meets, the one that unseen
  /// requests will find most even. Node copies do not depend on it.
  std::vector<std::uint16_t> even_gpus(const PatternTable& table, std::span<const std::int64_t> loads) {
    std::vector<std::vector<std::uint16_t>> starts{balanced_assignment(loads, table.part_count)};
    if (table.part_count == 1) return starts[0];
    const std::int64_t evenest = largest_load(loads, starts[0], table.part_count);
    starts.push_back(demand_assignment(table, loads.size() / table.part_count));
    const PartitionFront met = walk_front(table, loads, evenest, kGpuFrontLimits, starts);
    std::vector<std::uint16_t> best, gpu_of(experts_, UnseenLoads::kElsewhere);
    double least = 0;
    for (std::size_t s = 0; s < PartitionFront::kSteps; ++s) {
      const std::vector<std::uint16_t>& split = met.step(s).part_of_item;
      if (split.empty()) continue;
      for (std::size_t m = 0; m < split.size(); ++m) gpu_of[members_[m]] = split[m];
      const double imbalance = unseen_->imbalance(gpu_of, table.part_count);
      if (best.empty() || imbalance < least) best = split, least = imbalance;
    }
    return best;
  }

  /// What searches under rising limits meet, each from where the one before has ended.
  PartitionFront walk_front(const PatternTable& table, std::span<const std::int64_t> loads,
                            std::int64_t evenest, std::span<const double> limits,
                            std::vector<std::vector<std::uint16_t>> starts) {
    PartitionFront met(evenest);
    for (const double above : limits) {
      const Loads limit{.of_item = loads,
                        .limit = static_cast<std::int64_t>(above * static_cast<double>(evenest))};
      starts = {search_partition(table, limit, starts,
                                 {.iterations = 1000 * problem_.effort, .stale = 200, .front = &met},
                                 random_)};
    }
    return met;
  }

  /// Node of every expert in the running placement; empty without one.
  std::vector<std::uint16_t> running_nodes() const {
    if (problem_.from == nullptr) return {};
    std::vector<std::uint16_t> nodes(experts_);
    const auto slots = problem_.from->layer(row_);
    for (std::size_t s = 0; s < slots.size(); ++s)
      nodes[index(slots[s])] = node_of_gpu_[s / problem_.slots_per_gpu];
    return nodes;
  }
  /// GPU, by index in the node, of every expert in members_: the one it is on, else the first with room.
  std::vector<std::uint16_t> running_gpus(std::size_t node) const {
    if (problem_.from == nullptr) return {};
    constexpr std::uint16_t kNone = 0xFFFF;
    const std::size_t per_gpu = problem_.slots_per_gpu;
    const auto slots = problem_.from->layer(row_).subspan(node * node_slots_, node_slots_);
    std::vector<std::uint16_t> gpus;
    std::vector<std::size_t> room(topology_.gpus_per_node, per_gpu);
    for (const std::size_t e : members_) {
      const auto slot = static_cast<std::size_t>(std::ranges::find(slots, ExpertId(e)) - slots.begin());
      gpus.push_back(slot < slots.size() ? static_cast<std::uint16_t>(slot / per_gpu) : kNone);
      if (gpus.back() != kNone) --room[gpus.back()];
    }
    for (std::uint16_t& gpu : gpus) {
      if (gpu != kNone) continue;
      gpu = static_cast<std::uint16_t>(std::ranges::find_if(room, [](std::size_t r) { return r > 0; }) -
                                       room.begin());
      --room[gpu];
    }
    return gpus;
  }

  void fill_nodes(const PatternTable& sources, std::span<const std::int64_t> item_loads,
                  std::span<ExpertId> slots) {
    for (std::size_t node = 0; node < topology_.nodes; ++node) {
      const Holders gpus = gpus_of_node(sources, item_loads, node);
      std::vector<std::size_t> next(topology_.gpus_per_node);
      for (std::size_t m = 0; m < gpus.size(); ++m) {
        for (const std::uint16_t gpu : gpus[m]) {
          const std::size_t first = (node * topology_.gpus_per_node + gpu) * problem_.slots_per_gpu;
          slots[first + next[gpu]++] = ExpertId(members_[m]);
        }
      }
    }
  }

  /// GPUs (by index in the node) of the node's experts, which it leaves in members_. A node that holds an
  /// expert once is a partition; where it must hold one twice, copies are chosen among again.
  Holders gpus_of_node(const PatternTable& sources, std::span<const std::int64_t> item_loads,
                       std::size_t node) {
    members_.clear();
    std::size_t copies = 0;
    std::vector<std::uint32_t> local(experts_, kLeftOut);
    for (std::size_t e = 0; e < experts_; ++e) {
      const auto here = static_cast<std::size_t>(std::ranges::count(holders_[e], node));
      if (here == 0) continue;
      local[e] = static_cast<std::uint32_t>(members_.size());
      members_.push_back(e);
      copies += here;
    }
    const bool twice = copies > members_.size();
    const std::vector<RowClass> inside = twice ? classes_inside(node) : std::vector{RowClass{}};
    std::vector<std::uint32_t> new_item(sources.item_count, kLeftOut);
    std::vector<std::int64_t> loads(members_.size() * inside.size());
    for (std::size_t item = 0; item < new_item.size(); ++item) {
      const std::size_t e = item / classes_.size();
      const RowClass& row_class = classes_[item % classes_.size()];
      if (local[e] == kLeftOut || serving_part(holders_[e], row_class) != node) continue;
      new_item[item] = static_cast<std::uint32_t>(local[e] * inside.size() +
                                                  (twice ? class_inside(e, row_class, node) : 0));
      loads[new_item[item]] += item_loads[item];
    }
    const PatternTable table =
        project(sources, new_item, loads.size(), homes_inside(node), topology_.gpus_per_node);
    if (!twice) {
      Holders result;
      const auto gpu_of =
          unseen_ ? even_gpus(table, loads)
                  : partition(table, loads, topology_.gpus(), fixed_gpus(node), running_gpus(node));
      for (const std::uint16_t gpu : gpu_of) result.push_back({gpu});
      return result;
    }
    const std::vector<std::uint8_t> pinned = pinned_gpus(node);
    const ReplicaProblem problem{.table = table,
                                 .experts = members_.size(),
                                 .classes = inside,
                                 .capacity = problem_.slots_per_gpu,
                                 .pinned = pinned,
                                 .load_of_item = loads,
                                 .load_limit = limit(topology_.gpus())};
    std::vector<Holders> starts = {first_gpus(node, loads, inside.size())};
    obey(problem, starts[0]);
    return search_replicas(problem, starts, replica_options(), random_);
  }

  /// Index of every GPU in its node, where a copy lands. Counting rows, only the node's own count: a row
  /// from elsewhere is a node copy already.
  std::vector<std::uint16_t> homes_inside(std::size_t node) const {
    std::vector<std::uint16_t> homes = index_of_gpu_;
    for (std::size_t g = 0; problem_.per_expert && g < homes.size(); ++g) {
      if (node_of_gpu_[g] != node) homes[g] = kNoHome;
    }
    return homes;
  }

  /// Home rows of the node's GPUs under a rule that looks at the source, then numbers within the node.
  std::vector<RowClass> classes_inside(std::size_t node) const {
    std::vector<RowClass> inside;
    const bool first = problem_.objective.rule == dispatch::Rule::kSglang;
    for (std::uint32_t g = 0; g < topology_.gpus_per_node; ++g) {
      const auto source = static_cast<std::uint32_t>(node * topology_.gpus_per_node + g);
      inside.push_back({.source = g, .number = first ? 0 : source});
    }
    for (std::uint32_t number = 0; number < topology_.gpus_per_node; ++number)
      inside.push_back({.number = number});
    return inside;
  }
  std::size_t class_inside(std::size_t expert, const RowClass& row_class, std::size_t node) const {
    const auto& list = holders_[expert];
    if (row_class.source == node) return index_of_gpu_[row_class.number];
    const auto before =
        static_cast<std::size_t>(std::ranges::count_if(list, [&](auto p) { return p < node; }));
    return topology_.gpus_per_node + row_class.number % list.size() - before;
  }

  /// All copies of the node's experts on its GPUs, heaviest first onto the lightest GPU with room that
  /// lacks the expert; the expert with most copies goes first so that none ends on a GPU that has it.
  Holders first_gpus(std::size_t node, std::span<const std::int64_t> loads, std::size_t classes) const {
    std::vector<std::size_t> order(members_.size()), room(topology_.gpus_per_node, problem_.slots_per_gpu);
    std::vector<std::int64_t> weight(members_.size()), load(topology_.gpus_per_node);
    std::iota(order.begin(), order.end(), std::size_t{0});
    const auto copies = [&](std::size_t m) { return std::ranges::count(holders_[members_[m]], node); };
    for (std::size_t m = 0; m < weight.size(); ++m) {
      weight[m] =
          std::accumulate(&loads[m * classes], &loads[m * classes] + classes, std::int64_t{0}) / copies(m);
    }
    std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) {
      return std::pair(copies(a), weight[a]) > std::pair(copies(b), weight[b]);
    });
    Holders result(members_.size());
    for (const std::size_t m : order) {
      for (auto left = copies(m); left > 0; --left) {
        std::size_t best = room.size();
        const auto rank = [&](std::size_t g) {  // fullest room first: keeps copies apart to the end
          return std::tuple(std::ranges::count(result[m], g), -static_cast<std::ptrdiff_t>(room[g]), load[g]);
        };
        for (std::size_t g = 0; g < room.size(); ++g) {
          if (room[g] > 0 && (best == room.size() || rank(g) < rank(best))) best = g;
        }
        result[m].insert(std::ranges::upper_bound(result[m], best), static_cast<std::uint16_t>(best));
        --room[best];
        load[best] += weight[m];
      }
    }
    return result;
  }

  const Problem& problem_;
  std::size_t row_;
  const Topology& topology_;
  std::size_t experts_, node_slots_;
  bool replicas_;
  std::vector<std::int64_t> loads_;
  Pcg32 random_;
  double total_ = 0;
  std::optional<UnseenLoads> unseen_;  ///< where the layers share a budget
  std::vector<std::uint16_t> node_of_gpu_, index_of_gpu_;
  std::vector<RowClass> classes_;
  Holders holders_;                   ///< nodes of each expert
  std::vector<std::size_t> members_;  ///< experts of the node being filled
  std::vector<Pin> pins_;             ///< of this layer
};

}  // namespace

bool shares_budget(const Problem& problem) {
  const std::size_t slots = problem.slots_per_gpu * problem.topology.gpus();
  return problem.max_imbalance <= 0 && problem.from == nullptr && problem.pins.empty() &&
         problem.topology.nodes > 1 && slots == problem.demand.shape().experts;
}

LayerFront layer_front(const Problem& problem, std::size_t row, const LayerDemand& layer) {
  const ModelShape& shape = problem.demand.shape();
  return LayerPlan(problem, row).front(layer.view(shape.layers[row], shape.top_k));
}

RowCopies place_layer(const Problem& problem, std::size_t row, const LayerDemand& layer,
                      std::span<const std::uint16_t> node_of_expert, std::span<ExpertId> slots) {
  return LayerPlan(problem, row).place(layer, node_of_expert, slots);
}

}  // namespace moesaic::placement
