// Replicas under every dispatch rule, against the traffic reference and brute force.
#include "placement/replicas.hpp"

#include <limits>
#include <numeric>

#include "placement/planted_demand.hpp"
#include "traffic/score.hpp"

namespace moesaic::placement {
namespace {

using testing::PlantedDemand;

constexpr Topology kTopology{.nodes = 3, .gpus_per_node = 2};
const std::vector<std::uint16_t> kNodeOfGpu = {0, 0, 1, 1, 2, 2};

/// The tokens of one layer as a node-level replica problem under a rule.
struct Case {
  PlantedDemand demand;
  traffic::Objective objective;
  std::vector<RowClass> classes;
  PatternTable table;
  std::vector<std::int64_t> loads;

  Case(std::uint32_t seed, dispatch::Rule rule, Attention attention, std::size_t experts)
      : demand({.layers = 1,
                .experts = experts,
                .homes = kTopology.homes(attention),
                .requests = 8,
                .tokens = 13,
                .seed = seed}),
        objective{.rule = rule, .attention = attention, .seed = seed},
        classes(node_classes(kTopology, rule)) {
    const PatternTable sources = class_patterns(demand.tokens(0), kTopology, objective, experts, {});
    std::vector<std::uint32_t> same(sources.item_count);
    std::iota(same.begin(), same.end(), 0u);
    table = project(sources, same, same.size(), kNodeOfGpu, kTopology.nodes);
    loads = item_rows(table);
  }
  ReplicaProblem problem(std::size_t experts, std::size_t capacity) const {
    return {.table = table,
            .experts = experts,
            .classes = classes,
            .capacity = capacity,
            .load_of_item = loads,
            .load_limit = std::numeric_limits<std::int64_t>::max() / 2};
  }
};

RC_GTEST_PROP(Replicas, CostWhatTheTrafficReferenceSaysUnderEveryRuleAndAttention, ()) {
  const auto seed = *rc::gen::arbitrary<std::uint32_t>();
  const dispatch::Rule rule =
      *rc::gen::elementOf(std::vector(std::begin(dispatch::kRules), std::end(dispatch::kRules)));
  const Attention attention =
      *rc::gen::arbitrary<bool>() ? Attention::kDataParallel : Attention::kTensorParallel;
  constexpr std::size_t kExperts = 9;
  const Case c(seed, rule, attention, kExperts);
  Pcg32 random(seed);
  // Six slots a node: three experts each, then three more that the node lacks.
  Holders holders(kExperts);
  std::vector<ExpertId> slots;
  for (std::uint16_t node = 0; node < 3; ++node) {
    std::vector<ExpertId> mine, others;
    for (std::size_t e = 0; e < kExperts; ++e) (e % 3 == node ? mine : others).push_back(ExpertId(e));
    shuffle(std::span(others), random);
    mine.insert(mine.end(), others.begin(), others.begin() + 3);
    shuffle(std::span(mine), random);
    for (const ExpertId e : mine) holders[index(e)].push_back(node);
    slots.insert(slots.end(), mine.begin(), mine.end());
  }
  const auto expected = traffic::score_layer(c.demand.tokens(0), kTopology, kExperts, slots, c.objective);
  RC_ASSERT(replica_cost(c.problem(kExperts, 6), holders) == expected.dedup.node);
}

TEST(Replicas, SearchFillsASlotThatOnlyAnExpertWithAllItsCopiesCanTake) {
  constexpr std::size_t kExperts = 3;
  const Case c(1, dispatch::Rule::kVllm, Attention::kDataParallel, kExperts);
  ReplicaProblem problem = c.problem(kExperts, 2);
  problem.copies = 2;
  // Six slots, two copies an expert: the one slot left is beside the last copy of the expert that may have
  // more.
  const std::vector<Holders> starts = {{{0, 1}, {0, 1}, {2}}};
  Pcg32 random(1);
  const Holders found = search_replicas(problem, starts, {}, random);
  std::vector<std::size_t> used(3);
  for (const auto& list : found) {
    for (const std::uint16_t part : list) ++used[part];
  }
  EXPECT_EQ(used, (std::vector<std::size_t>{2, 2, 2}));
}

RC_GTEST_PROP(Replicas, SearchFillsEverySlotTracksItsCostAndNeverLosesToItsStart, ()) {
  const auto seed = *rc::gen::arbitrary<std::uint32_t>();
  const dispatch::Rule rule =
      *rc::gen::elementOf(std::vector(std::begin(dispatch::kRules), std::end(dispatch::kRules)));
  constexpr std::size_t kExperts = 9;
  const Case c(seed, rule, Attention::kDataParallel, kExperts);
  ReplicaProblem problem = c.problem(kExperts, 5);
  problem.copies = 3;
  const std::vector<Holders> starts = {demand_holders(problem)};
  Pcg32 random(seed);
  ReplicaStats stats;
  const Holders found = search_replicas(problem, starts, {.iterations = 40}, random, &stats);
  RC_ASSERT(stats.cost == replica_cost(problem, found));
  RC_ASSERT(stats.cost <= replica_cost(problem, starts[0]));
  std::vector<std::size_t> used(3);
  for (const auto& parts : found) {
    RC_ASSERT(!parts.empty() && std::ranges::is_sorted(parts));
    RC_ASSERT(std::ranges::adjacent_find(parts) == parts.end());
    for (const auto part : parts) ++used[part];
  }
  RC_ASSERT(used == std::vector<std::size_t>({5, 5, 5}));
}

/// Least cost over all ways to give each of 4 experts a set of nodes with 2 slots a node.
std::int64_t brute_force(const ReplicaProblem& problem) {
  std::int64_t best = std::numeric_limits<std::int64_t>::max();
  for (std::size_t code = 0; code < 7 * 7 * 7 * 7; ++code) {
    Holders holders;
    std::vector<std::size_t> used(3);
    for (std::size_t rest = code, e = 0; e < 4; ++e, rest /= 7) {
      holders.emplace_back();
      for (std::uint16_t node = 0; node < 3; ++node) {
        if ((((rest % 7) + 1) >> node & 1u) == 0) continue;
        holders.back().push_back(node);
        ++used[node];
      }
    }
    if (std::ranges::all_of(used, [](std::size_t u) { return u == 2; })) {
      best = std::min(best, replica_cost(problem, holders));
    }
  }
  return best;
}

TEST(Replicas, FindTheOptimumOfSmallCasesUnderEveryRule) {
  for (const dispatch::Rule rule : dispatch::kRules) {
    for (std::uint32_t seed = 0; seed < 4; ++seed) {
      const Case c(seed, rule, Attention::kDataParallel, 4);
      const ReplicaProblem problem = c.problem(4, 2);
      const std::vector<Holders> starts = {
          demand_holders(problem), {{0}, {1}, {2}, {0}}, {{2}, {1}, {1}, {0}}};
      Pcg32 random(seed);
      const Holders found = search_replicas(problem, starts, {}, random);
      EXPECT_EQ(replica_cost(problem, found), brute_force(problem)) << dispatch::name(rule) << ' ' << seed;
    }
  }
}

TEST(Replicas, LoadLimitIsKeptWhereTheStartBreaksIt) {
  const Case c(5, dispatch::Rule::kLocal, Attention::kDataParallel, 9);
  ReplicaProblem problem = c.problem(9, 5);
  const auto total = std::accumulate(c.loads.begin(), c.loads.end(), std::int64_t{0});
  problem.load_limit = total * 36 / 100;
  const std::vector<Holders> starts = {demand_holders(problem)};
  Pcg32 random(5);
  ReplicaStats stats;
  const Holders found = search_replicas(problem, starts, {}, random, &stats);
  EXPECT_EQ(stats.excess, 0);
  std::vector<std::int64_t> load(3);
  const auto part = serving_parts(problem, found);
  for (std::size_t item = 0; item < part.size(); ++item) load[part[item]] += c.loads[item];
  EXPECT_LE(*std::ranges::max_element(load), problem.load_limit);
}

}  // namespace
}  // namespace moesaic::placement
