#include "placement/home_costs.hpp"

#include <array>

#include "placement/planted_demand.hpp"

namespace moesaic::placement {
namespace {

using testing::PlantedDemand;

RC_GTEST_PROP(HomeCosts, EqualTheTrafficReferenceOfEveryRequestAtEveryHome, ()) {
  const auto seed = *rc::gen::arbitrary<std::uint32_t>();
  const bool per_expert = *rc::gen::arbitrary<bool>(), replicas = *rc::gen::arbitrary<bool>();
  const Topology topology{.nodes = 3, .gpus_per_node = 2};
  const traffic::Objective objective{
      .rule = *rc::gen::elementOf(std::vector(std::begin(dispatch::kRules), std::end(dispatch::kRules))),
      .attention = *rc::gen::arbitrary<bool>() ? Attention::kDataParallel : Attention::kTensorParallel,
      .seed = seed};
  const PlantedDemand demand(
      {.layers = 1, .experts = 12, .homes = 3, .requests = 4, .tokens = 6, .seed = seed, .missing = 0.1});
  std::vector<ExpertId> slots;
  for (std::size_t s = 0; s < (replicas ? 18u : 12u); ++s) slots.push_back(ExpertId(s % 12));
  Pcg32 random(seed);
  shuffle(std::span(slots), random);
  const auto costs = home_costs(demand.tokens(0), topology, 12, slots, objective, per_expert);
  RC_ASSERT(costs.homes == topology.homes(objective.attention));
  const auto tokens = demand.tokens(0);
  for (std::size_t r = 0; r < 4; ++r) {
    for (std::size_t h = 0; h < costs.homes; ++h) {
      std::array<traffic::Segment, 1> alone = {tokens.segments[r]};
      alone[0].home = HomeId(h);
      const auto t = traffic::score_layer({tokens.layer, tokens.k, tokens.experts, alone}, topology, 12,
                                          slots, objective);
      const auto& expected = per_expert ? t.per_expert : t.dedup;
      RC_ASSERT(costs.node_copies[r * costs.homes + h] == expected.node);
      RC_ASSERT(costs.gpu_copies[r * costs.homes + h] == expected.gpu);
    }
  }
  HomeCosts sum;
  add(sum, costs);
  add(sum, costs);
  RC_ASSERT(sum.node_copies[1] == 2 * costs.node_copies[1]);
}

}  // namespace
}  // namespace moesaic::placement
