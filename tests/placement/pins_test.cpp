// Pins: what is refused, and that a plan keeps those it was given, whatever the slots, the rule and the
// nodes.
#include "placement/pins.hpp"

#include <algorithm>
#include <limits>

#include "placement/algorithms.hpp"
#include "placement/fake_demand.hpp"
#include "placement/pinned_starts.hpp"
#include "placement/planted_demand.hpp"
#include "traffic/score.hpp"

namespace moesaic::placement {
namespace {

using testing::PlantedDemand;

constexpr std::size_t kExperts = 10;

ModelShape shape() {
  return {.model = "m", .model_layers = 3, .layers = {LayerId{1}, LayerId{2}}, .experts = 4, .top_k = 2};
}
Pin pin(std::size_t row, int expert, std::uint16_t node, std::uint16_t gpu = Pin::kAnyGpu) {
  return {.row = row, .expert = ExpertId(expert), .node = node, .gpu = gpu};
}

void says(std::vector<Pin> pins, std::size_t slots, const char* part) {
  const auto checked = checked_pins(std::move(pins), shape(), {.nodes = 2, .gpus_per_node = 2}, slots);
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().kind, ErrorKind::kBadInput);
  EXPECT_NE(checked.error().message.find(part), std::string::npos) << checked.error().message;
}

TEST(Pins, ThatCannotBeMetAreRefused) {
  says({pin(2, 0, 0)}, 1, "MoE layer number 2");
  says({pin(0, 4, 0)}, 1, "layer 1 expert 4 on node 0: expected an expert below 4");
  says({pin(0, 1, 2)}, 1, "a node below 2");
  says({pin(0, 1, 1, 2)}, 1, "a GPU below 2");
  says({pin(0, 1, 1, 0), pin(0, 2, 1, 0)}, 1, "pinned to GPU 0 of node 1, which has 1 slots");
  says({pin(0, 1, 1), pin(0, 2, 1), pin(0, 3, 1)}, 1, "pinned to node 1, which has 2 slots");
  says({pin(0, 1, 1), pin(0, 1, 0)}, 1, "pin expert 1 once");
  says({pin(1, 1, 1, 0), pin(1, 1, 1, 1)}, 2, "one GPU of a node is enough");
}

TEST(Pins, OnNodeAndGpuAreOneAndRepeatedOnesAreDropped) {
  const auto checked = checked_pins({pin(1, 1, 1), pin(0, 1, 1), pin(1, 1, 1, 0), pin(0, 1, 1)}, shape(),
                                    {.nodes = 2, .gpus_per_node = 2}, 1);
  ASSERT_TRUE(checked) << checked.error().message;
  EXPECT_EQ(*checked, (std::vector{pin(0, 1, 1), pin(1, 1, 1, 0)}));
}

TEST(Pins, UnmetOnesAreFound) {
  const auto placement = Placement::make({.nodes = 2, .gpus_per_node = 2}, shape().layers, 4, 1,
                                         {ExpertId(0), ExpertId(1), ExpertId(2), ExpertId(3), ExpertId(3),
                                          ExpertId(2), ExpertId(1), ExpertId(0)});
  ASSERT_TRUE(placement);
  const std::vector<Pin> pins = {pin(0, 1, 0), pin(0, 1, 0, 0), pin(1, 1, 1, 0), pin(1, 1, 0)};
  EXPECT_EQ(unmet_pins(pins, *placement), (std::vector{pins[1], pins[3]}));
  EXPECT_EQ(to_string(pins[1], *placement), "layer 1 expert 1 on GPU 0 of node 0");
}

/// Pins that can be met, read off a random layout in which no GPU holds an expert twice.
std::vector<Pin> random_pins(const Problem& problem, std::size_t layers, std::uint64_t seed) {
  const auto layout = random_placement().place(problem);
  std::vector<Pin> pins;
  Pcg32 random(seed, 3);
  for (std::size_t row = 0; row < layers; ++row) {
    const auto slots = layout->placement.layer(row);
    std::vector<std::pair<ExpertId, std::size_t>> taken;
    for (std::size_t s = 0; s < slots.size(); ++s) {
      const std::size_t gpu = s / problem.slots_per_gpu, node = gpu / problem.topology.gpus_per_node;
      const bool on_node = std::ranges::find(taken, std::pair(slots[s], node)) != taken.end();
      if (random.below(3) == 0 || on_node) continue;
      taken.emplace_back(slots[s], node);
      const auto local = static_cast<std::uint16_t>(gpu % problem.topology.gpus_per_node);
      pins.push_back({.row = row,
                      .expert = slots[s],
                      .node = static_cast<std::uint16_t>(node),
                      .gpu = random.below(2) == 0 ? Pin::kAnyGpu : local});
    }
  }
  return pins;
}

RC_GTEST_PROP(Pins, AreKeptWhateverTheSlotsTheRuleAndTheNodes, ()) {
  const Topology topology{.nodes = *rc::gen::elementOf(std::vector<std::size_t>{1, 2, 3, 5}),
                          .gpus_per_node = *rc::gen::elementOf(std::vector<std::size_t>{1, 2, 3})};
  const std::size_t least = (kExperts + topology.gpus() - 1) / topology.gpus();
  const std::size_t slots = *rc::gen::inRange<std::size_t>(least, kExperts + 1);
  const dispatch::Rule rule =
      *rc::gen::elementOf(std::vector(std::begin(dispatch::kRules), std::end(dispatch::kRules)));
  const auto seed = *rc::gen::arbitrary<std::uint64_t>();
  const PlantedDemand demand(
      {.layers = 2, .experts = kExperts, .homes = topology.gpus(), .requests = 8, .tokens = 10});
  Problem problem{.demand = demand,
                  .topology = topology,
                  .slots_per_gpu = slots,
                  .objective = {.rule = rule},
                  .seed = seed,
                  .max_imbalance = *rc::gen::elementOf(std::vector{1.0, 1.3, 4.0}),
                  .per_expert = *rc::gen::arbitrary<bool>()};
  const auto pins = checked_pins(random_pins(problem, 2, seed), demand.shape(), topology, slots);
  RC_ASSERT(pins.has_value());
  problem.pins = *pins;
  const auto plan = moesaic().place(problem);
  RC_ASSERT(plan.has_value());
  RC_ASSERT(unmet_pins(*pins, plan->placement).empty());
  for (std::size_t row = 0; row < 2; ++row) RC_ASSERT(testing::doubled_on_a_gpu(plan->placement, row) == 0u);
  ThreadPool two(2);
  problem.pool = &two;
  RC_ASSERT(moesaic().place(problem)->placement == plan->placement);
}

TEST(Pins, LeaveTheBestOfTheOtherPlacements) {
  // Six experts on three nodes of one GPU: every layout that keeps the pins is tried.
  const Topology topology{.nodes = 3, .gpus_per_node = 1};
  for (const std::uint64_t seed : {1u, 2u, 3u, 4u}) {
    const PlantedDemand demand({.layers = 1, .experts = 6, .homes = 3, .requests = 12, .seed = seed});
    const std::vector<Pin> pins = {pin(0, 0, 2), pin(0, 3, 1)};
    const Problem problem{.demand = demand,
                          .topology = topology,
                          .slots_per_gpu = 2,
                          .objective = {},
                          .max_imbalance = 100,
                          .pins = pins};
    const auto copies = [&](std::span<const ExpertId> slots) {
      return traffic::score_layer(demand.tokens(0), topology, 6, slots, {}).dedup.node;
    };
    std::vector<ExpertId> slots = {ExpertId(0), ExpertId(1), ExpertId(2),
                                   ExpertId(3), ExpertId(4), ExpertId(5)};
    std::int64_t best = std::numeric_limits<std::int64_t>::max(), free = best;
    do {
      const bool kept = (slots[4] == ExpertId(0) || slots[5] == ExpertId(0)) &&
                        (slots[2] == ExpertId(3) || slots[3] == ExpertId(3));
      free = std::min(free, copies(slots));
      if (kept) best = std::min(best, copies(slots));
    } while (std::ranges::next_permutation(slots).found);
    const auto plan = moesaic().place(problem);
    ASSERT_TRUE(plan);
    EXPECT_EQ(copies(plan->placement.layer(0)), best) << seed;
    EXPECT_LE(free, best);
  }
}

}  // namespace
}  // namespace moesaic::placement
