#include "grouping/expected_copies.hpp"

#include <cmath>

#include "core/random.hpp"
#include "traffic/score.hpp"

namespace moesaic::grouping {
namespace {

Placement random_placement(Topology topology, std::size_t layers, std::size_t experts, std::size_t per_gpu,
                           Pcg32& random) {
  std::vector<LayerId> ids;
  std::vector<ExpertId> slots;
  for (std::size_t layer = 0; layer < layers; ++layer) {
    ids.push_back(LayerId(layer));
    std::vector<ExpertId> of_layer;
    for (std::size_t s = 0; s < topology.gpus() * per_gpu; ++s) {
      of_layer.push_back(ExpertId(s < experts ? s : random.below(static_cast<std::uint32_t>(experts))));
    }
    shuffle(std::span(of_layer), random);
    slots.insert(slots.end(), of_layer.begin(), of_layer.end());
  }
  return Placement::make(topology, ids, experts, per_gpu, slots).value();
}

std::vector<double> copies(const ExpectedCopies& expected, std::span<const float> probabilities) {
  std::vector<double> out(expected.homes());
  expected.of(probabilities, out);
  return out;
}

RC_GTEST_PROP(ExpectedCopies, OfATokenThatIsKnownAreThoseOfTheObjective, ()) {
  Pcg32 random(*rc::gen::arbitrary<std::uint64_t>());
  constexpr std::size_t kLayers = 3, kExperts = 10, kTopK = 3;
  const Topology topology{3, 2};
  const Placement placement = random_placement(topology, kLayers, kExperts, 3, random);
  const auto rule = *rc::gen::element(dispatch::Rule::kLocal, dispatch::Rule::kSglang);
  std::vector<ExpertId> chosen;
  std::vector<float> probabilities(kLayers * kExperts);
  for (std::size_t layer = 0; layer < kLayers; ++layer) {
    std::vector<ExpertId> all;
    for (std::size_t e = 0; e < kExperts; ++e) all.push_back(ExpertId(e));
    shuffle(std::span(all), random);
    for (std::size_t i = 0; i < kTopK; ++i) {
      chosen.push_back(all[i]);
      probabilities[layer * kExperts + index(all[i])] = 1;
    }
  }
  const ExpectedCopies dedup(placement, Attention::kDataParallel, rule, CopyMode::kDedup);
  const ExpectedCopies rows(placement, Attention::kDataParallel, rule, CopyMode::kPerExpert);
  const auto by_node = copies(dedup, probabilities), by_row = copies(rows, probabilities);
  for (std::size_t home = 0; home < topology.gpus(); ++home) {
    std::int64_t node = 0, row = 0;
    for (std::size_t layer = 0; layer < kLayers; ++layer) {
      const traffic::Segment segment{.home = HomeId(home), .count = 1};
      const auto scored = traffic::score_layer({.layer = LayerId(layer),
                                                .k = kTopK,
                                                .experts = std::span(chosen).subspan(layer * kTopK, kTopK),
                                                .segments = {&segment, 1}},
                                               topology, kExperts, placement.layer(layer), {.rule = rule});
      node += scored.dedup.node;
      row += scored.per_expert.node;
    }
    RC_ASSERT(std::abs(by_node[home] - static_cast<double>(node)) < 1e-4);
    RC_ASSERT(std::abs(by_row[home] - static_cast<double>(row)) < 1e-4);
  }
}

TEST(ExpectedCopies, ProbabilitiesAreWeighedAndReplicasOfOtherRulesAveraged) {
  // Expert 0 on both nodes, 1 on the second, 2 on the first.
  const Placement placement =
      Placement::make({2, 1}, {LayerId(0)}, 3, 2, {ExpertId(0), ExpertId(2), ExpertId(1), ExpertId(0)})
          .value();
  const std::vector<float> p{0.5f, 0.5f, 0};
  const auto of = [&](dispatch::Rule rule, CopyMode mode) {
    return copies(ExpectedCopies(placement, Attention::kTensorParallel, rule, mode), p);
  };
  EXPECT_EQ(of(dispatch::Rule::kLocal, CopyMode::kDedup), (std::vector<double>{0.5, 0}));
  EXPECT_EQ(of(dispatch::Rule::kVllm, CopyMode::kPerExpert), (std::vector<double>{0.75, 0.25}));
  EXPECT_EQ(of(dispatch::Rule::kVllm, CopyMode::kDedup), (std::vector<double>{0.625, 0.25}));
}

}  // namespace
}  // namespace moesaic::grouping
