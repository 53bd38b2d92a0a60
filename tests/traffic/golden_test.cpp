// The hand-worked example of the objective: every dispatch rule, mode and attention kind.
#include <array>

#include "core/balance.hpp"
#include "io/json.hpp"
#include "support/shared_data.hpp"
#include "traffic/score.hpp"

namespace moesaic::traffic {
namespace {

std::int64_t number(const Json& json, std::string_view key) {
  std::int64_t value = -1;
  const Json* found = json.find(key);
  EXPECT_TRUE(found != nullptr && found->to_int(value)) << key;
  return value;
}

std::int64_t number(const Json& json) {
  std::int64_t value = -1;
  EXPECT_TRUE(json.to_int(value));
  return value;
}

double real(const Json& json, std::string_view key) {
  double value = -1;
  EXPECT_TRUE(json.find(key)->to_double(value)) << key;
  return value;
}

TEST(Traffic, EqualsTheExampleWorkedByHandForEveryRuleModeAndAttention) {
  MOESAIC_NEEDS_SHARED("golden/traffic/example.json");
  const auto golden = io::read_json(io::real_files(), testing::shared_data("golden/traffic/example.json"));
  ASSERT_TRUE(golden) << golden.error().message;
  const Json& example = *golden->find("example");
  const Topology topology{.nodes = static_cast<std::size_t>(number(example, "nodes")),
                          .gpus_per_node = static_cast<std::size_t>(number(example, "gpus_per_node"))};
  std::vector<ExpertId> slots, experts;
  for (const Json& slot : *example.find("slot_to_expert")->as_array())
    slots.push_back(ExpertId(number(slot)));

  int cases = 0;
  for (const auto& [key, expected] : *golden->find("expected")->as_object()) {
    const bool dp = key.starts_with("dp/");
    const auto rule = dispatch::parse_rule(key.substr(3));
    ASSERT_TRUE(rule) << key;
    experts.clear();
    std::vector<Segment> segments;
    for (const Json& request : *example.find("requests")->as_array()) {
      const auto gpu = static_cast<std::size_t>(number(request, "home_gpu"));
      const auto& tokens = *request.find("tokens")->as_array();
      segments.push_back({.request = static_cast<std::uint32_t>(segments.size()),
                          .home = HomeId(dp ? gpu : gpu / topology.gpus_per_node),
                          .begin = experts.size() / 2,
                          .count = tokens.size()});
      for (const Json& token : tokens) {
        for (const Json& expert : *token.as_array()) experts.push_back(ExpertId(number(expert)));
      }
    }
    const Objective objective{.rule = *rule,
                              .attention = dp ? Attention::kDataParallel : Attention::kTensorParallel,
                              .seed = static_cast<std::uint64_t>(number(example, "seed"))};
    const Steps steps = make_steps(segments, topology.homes(objective.attention), 4);
    const LayerTraffic traffic =
        score_layer({LayerId(0), 2, experts, segments}, topology,
                    static_cast<std::size_t>(number(example, "experts")), slots, objective, &steps);
    EXPECT_EQ(traffic.tokens, 14) << key;
    EXPECT_EQ(traffic.dedup.node, number(*expected.find("dedup"), "node")) << key;
    EXPECT_EQ(traffic.dedup.gpu, number(*expected.find("dedup"), "gpu")) << key;
    EXPECT_EQ(traffic.dedup.padded_node, number(*expected.find("dedup"), "padded_node")) << key;
    EXPECT_EQ(traffic.per_expert.node, number(*expected.find("per_expert"), "node")) << key;
    EXPECT_EQ(traffic.per_expert.gpu, number(*expected.find("per_expert"), "gpu")) << key;
    std::vector<std::int64_t> rows;
    for (const Json& row : *expected.find("gpu_rows")->as_array()) rows.push_back(number(row));
    EXPECT_EQ(traffic.gpu_rows, rows) << key;
    EXPECT_DOUBLE_EQ(max_over_mean(traffic.gpu_rows), real(expected, "gpu_max_over_mean")) << key;
    EXPECT_DOUBLE_EQ(jain_index(traffic.gpu_rows), real(expected, "jain_gpu")) << key;
    const std::array<std::int64_t, 2> nodes = {rows.at(0) + rows.at(1), rows.at(2) + rows.at(3)};
    EXPECT_DOUBLE_EQ(max_over_mean(nodes), real(expected, "node_max_over_mean")) << key;
    ++cases;
  }
  EXPECT_EQ(cases, 10);
}

}  // namespace
}  // namespace moesaic::traffic
