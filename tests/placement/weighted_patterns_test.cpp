// Tokens that count more than once: the same patterns as from requests that are there so many times.
#include <vector>

#include "placement/patterns_table.hpp"
#include "placement/planted_demand.hpp"

namespace moesaic::placement {
namespace {

RC_GTEST_PROP(WeightedPatterns, AreThoseOfRequestsThatAreThereSoManyTimes, ()) {
  const testing::PlantedDemand demand({.layers = 1, .experts = 8, .homes = 4, .requests = 6, .tokens = 9});
  const traffic::LayerTokens tokens = demand.tokens(0);
  const Topology topology{.nodes = 2, .gpus_per_node = 2};
  std::vector<std::uint32_t> weights;
  std::vector<traffic::Segment> repeated;
  for (const traffic::Segment& segment : tokens.segments) {
    weights.push_back(*rc::gen::inRange<std::uint32_t>(1, 5));
    repeated.insert(repeated.end(), weights.back(), segment);
  }
  traffic::LayerTokens often = tokens;
  often.segments = repeated;
  const PatternOptions single{.single_rows = *rc::gen::arbitrary<bool>()};
  PatternOptions weighted = single;
  weighted.weights = weights;
  const auto table = [&](const traffic::LayerTokens& of, const PatternOptions& options) {
    return token_patterns(of, topology, Attention::kDataParallel, 8, options);
  };
  const PatternTable a = table(tokens, weighted), b = table(often, single);
  RC_ASSERT(a.items == b.items);
  RC_ASSERT(a.home == b.home);
  RC_ASSERT(a.weight == b.weight);
}

}  // namespace
}  // namespace moesaic::placement
