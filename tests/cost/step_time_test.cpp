#include "cost/step_time.hpp"

namespace moesaic::cost {
namespace {

using namespace std::chrono_literals;

const ModelPreset& model(const char* name) { return **find_preset(name); }
const HardwarePreset& hardware(const char* name) { return **find_hardware(name); }

Result<StepTime> read(const std::string& text) {
  const auto node = parse_config(text, "cluster.yaml");
  EXPECT_TRUE(node);
  return read_step_time(*node, model("qwen3-30b-a3b"));
}

TEST(Hardware, AMessageTakesItsLatencyAndItsBytesOverBandwidth) {
  const Link link{1000ns, 50};
  EXPECT_EQ(transfer_time(link, 0), 1000ns);
  EXPECT_EQ(transfer_time(link, 5000), 1100ns);
  EXPECT_EQ(transfer_time(link, 5026), 1101ns);  // 100.52 rounds up
}

TEST(Hardware, TheRdmaLinkGivesBackTheFigureItWasDerivedFrom) {
  const std::int64_t bytes = 128 * 8 * dispatch_bytes(model("deepseek-v3"));
  EXPECT_NEAR(static_cast<double>(transfer_time(hardware("h800").rdma, bytes).count()), 163'000, 1'000);
}

TEST(Hardware, EveryPresetIsFoundAndUnknownOnesAreListed) {
  for (const HardwarePreset& preset : hardware_presets()) {
    EXPECT_EQ(*find_hardware(preset.name), &preset);
    EXPECT_GT(preset.memory_bytes, 0);
    EXPECT_FALSE(preset.source.empty());
  }
  const auto missing = find_hardware("abacus");
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().message.find("h100, h20, h200, h800"), std::string::npos)
      << missing.error().message;
}

TEST(StepTime, IsTheSumOfItsTerms) {
  const StepTime step{.fixed = 1000ns,
                      .per_token = Picoseconds(1'500),
                      .per_expert = Picoseconds(20'000),
                      .per_kv_token = Picoseconds(100),
                      .per_gpu_copy = Picoseconds(3'000),
                      .per_node_copy = Picoseconds(7'000),
                      .table = {}};
  EXPECT_EQ(step_time(step, {.tokens = 4, .experts = 10, .kv_tokens = 50, .gpu_copies = 2, .node_copies = 1}),
            1000ns + 6ns + 200ns + 5ns + 6ns + 7ns);
  EXPECT_EQ(step_time(step, {}), 0ns);  // nothing runs, nothing takes time
}

RC_GTEST_PROP(StepTime, GrowsWithEveryCount, ()) {
  const auto count = [] { return *rc::gen::inRange<std::int64_t>(1, 10'000); };
  const StepTime step =
      roofline_step(model("deepseek-v3"), hardware("h800"), {.gpus = 16, .crosses_nodes = true});
  const StepLoad load{.tokens = count(),
                      .experts = count(),
                      .kv_tokens = count(),
                      .gpu_copies = count(),
                      .node_copies = count()};
  const auto grows = [&](std::int64_t StepLoad::* member) {
    StepLoad more = load;
    more.*member += 100;
    return step_time(step, more) > step_time(step, load);
  };
  RC_ASSERT(grows(&StepLoad::tokens));
  RC_ASSERT(grows(&StepLoad::experts));
  RC_ASSERT(grows(&StepLoad::kv_tokens));
  RC_ASSERT(grows(&StepLoad::gpu_copies));
  RC_ASSERT(grows(&StepLoad::node_copies));
}

TEST(StepTime, RooflineReadsOneExpertAtTheMemoryBandwidth) {
  const StepTime step = roofline_step(model("qwen3-30b-a3b"), hardware("h100"), {.memory_efficiency = 1});
  EXPECT_EQ(step.per_expert.count(), 2'817'070);  // 9,437,184 bytes / 3350 B/ns, in ps
  EXPECT_EQ(step.per_gpu_copy.count(), 0);
  const StepTime wide = roofline_step(model("qwen3-30b-a3b"), hardware("h100"), {.gpus = 8});
  EXPECT_EQ(wide.fixed - step.fixed, 48 * 2 * hardware("h100").nvlink.latency);
}

TEST(StepTime, EldrPresetGrowsAMoeLayerFourPointSevenTimes) {
  for (const char* name : {"qwen3-30b-a3b", "gpt-oss-20b", "moesaic-mini"}) {
    const ModelPreset& shape = model(name);
    const auto layers = static_cast<std::int64_t>(shape.shape.layers.size());
    const auto experts = static_cast<std::int64_t>(shape.shape.experts);
    const StepTime only_moe = eldr_figure2_step(shape, hardware("h100"), {.rest_share = 0});
    const auto time = [&](const StepTime& step, std::int64_t active, std::int64_t tokens) {
      return static_cast<double>(step_time(step, {.tokens = tokens, .experts = active * layers}).count());
    };
    EXPECT_NEAR(time(only_moe, experts, 1) / time(only_moe, experts / 8, 1), 4.7, 0.01) << name;
    const StepTime whole = eldr_figure2_step(shape, hardware("h100"));
    EXPECT_NEAR(time(only_moe, experts / 2, 1) / time(whole, experts / 2, 1), 0.5, 0.001) << name;
    EXPECT_LT(time(whole, experts / 2, 65) / time(whole, experts / 2, 1), 1.0101) << name;
  }
}

TEST(StepTable, GivesItsPointsAndStraightLinesBetweenThem) {
  const auto table = StepTable::make({1, 10}, {100, 200, 400}, {10ns, 20ns, 40ns, 100ns, 200ns, 400ns});
  ASSERT_TRUE(table);
  EXPECT_EQ(table->at(1, 100), 10ns);
  EXPECT_EQ(table->at(10, 400), 400ns);
  EXPECT_EQ(table->at(1, 300), 30ns);
  EXPECT_EQ(table->at(4, 100), 40ns);
  EXPECT_EQ(table->at(1, 500), 50ns);  // beyond: the outermost slope
  EXPECT_EQ(table->at(19, 100), 190ns);
  EXPECT_EQ(table->at(0, 0), 0ns);
  EXPECT_EQ(table->expert_slope(1, 150).count(), 100);
  EXPECT_EQ(table->token_slope(5, 100).count(), 10'000);
  const StepTime step{.per_kv_token = Picoseconds(1'000), .table = *table};
  EXPECT_EQ(step_time(step, {.tokens = 1, .experts = 100, .kv_tokens = 5}), 15ns);
  EXPECT_EQ(prices_near(step, {.tokens = 1, .experts = 100}).expert.count(), 100);
  EXPECT_EQ(prices_near(step, {.tokens = 1, .experts = 100}).kv_token.count(), 1'000);
}

TEST(StepTable, RefusesWhatIsNoTable) {
  EXPECT_FALSE(StepTable::make({1}, {1, 2}, {1ns, 2ns}));
  EXPECT_FALSE(StepTable::make({1, 2}, {2, 2}, {1ns, 2ns, 3ns, 4ns}));
  EXPECT_FALSE(StepTable::make({1, 2}, {1, 2}, {1ns, 2ns, 3ns}));
  EXPECT_FALSE(StepTable::make({1, 2}, {1, 2}, {1ns, 2ns, 3ns, -4ns}));
  EXPECT_FALSE(StepTable::make({-1, 2}, {1, 2}, {1ns, 2ns, 3ns, 4ns}));
}

TEST(StepTimeYaml, ReadsAllThreeForms) {
  const auto roofline = read("from: roofline\nhardware: h20\ngpus: 4\nmemory_efficiency: 0.7\n");
  ASSERT_TRUE(roofline) << roofline.error().message;
  EXPECT_EQ(*roofline,
            roofline_step(model("qwen3-30b-a3b"), hardware("h20"), {.memory_efficiency = 0.7, .gpus = 4}));
  const auto eldr = read("from: eldr-figure-2\ngrowth: 4\n");
  ASSERT_TRUE(eldr) << eldr.error().message;
  EXPECT_EQ(*eldr, eldr_figure2_step(model("qwen3-30b-a3b"), hardware("h100"), {.growth = 4}));
  const auto measured = read("from: measured\nfixed: 2ms\nper_token_ns: 1.5\nper_expert_ns: 900\n");
  ASSERT_TRUE(measured) << measured.error().message;
  EXPECT_EQ(measured->fixed, 2ms);
  EXPECT_EQ(measured->per_token.count(), 1'500);
  const auto table =
      read("from: measured\ntable:\n  tokens: [1, 8]\n  experts: [1, 9]\n  times_us: [[1, 2], [3, 4]]\n");
  ASSERT_TRUE(table) << table.error().message;
  EXPECT_EQ(step_time(*table, {.tokens = 8, .experts = 9}), 4us);
}

TEST(StepTimeYaml, EveryMistakeNamesItsLine) {
  const std::pair<const char*, const char*> cases[] = {
      {"a: 1\n", "\"from\" is missing"},
      {"from: guess\n", "line 1: from is \"guess\", expected one of roofline"},
      {"from: roofline\nhardware: abacus\n", "abacus"},
      {"from: roofline\ngpu: 4\n", "line 2: unknown key \"gpu\""},
      {"from: eldr-figure-2\ngrowth: 9\n", "line 2: growth"},
      {"from: measured\n", "\"fixed\" is missing"},
      {"from: measured\nfixed: 1ms\ntable: {tokens: [1, 2], experts: [1, 2], times_us: [[1, 2], [3, 4]]}\n",
       "line 2: fixed stands beside table"},
      {"from: measured\ntable: {tokens: [1, 2], experts: [1, 2], times_us: [[1, 2], [3]]}\n",
       "1 times in this row"},
      {"from: measured\ntable: {tokens: [2, 1], experts: [1, 2], times_us: [[1, 2], [3, 4]]}\n", "ascending"},
      {"from: measured\nfixed: 1ms\nper_expert_ns: -2\n", "line 3: per_expert_ns"},
  };
  for (const auto& [text, part] : cases) {
    const auto step = read(text);
    ASSERT_FALSE(step) << text;
    EXPECT_EQ(step.error().kind, ErrorKind::kBadInput);
    EXPECT_NE(step.error().message.find(part), std::string::npos) << step.error().message;
    EXPECT_TRUE(step.error().message.starts_with("cluster.yaml, line")) << step.error().message;
  }
}

}  // namespace
}  // namespace moesaic::cost
