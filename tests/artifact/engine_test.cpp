#include "artifact/engine.hpp"

#include <algorithm>

#include "artifact/sample_plan.hpp"
#include "io/json.hpp"

namespace moesaic::artifact {
namespace {

using testing::sample_plan;

/// The name that every engine accepts.
constexpr const char* kFile = "plan.engine.json";

/// The sample's placement with copies on different GPUs.
Plan apart() {
  Plan plan = sample_plan();
  plan.placement = *Placement::make({.nodes = 2, .gpus_per_node = 2}, plan.shape.layers, 4, 2,
                                    testing::experts({0, 1, 2, 1, 0, 3, 1, 2, 3, 2, 1, 0, 0, 2, 3, 1}));
  return plan;
}

TEST(Engines, AreFoundByNameAndHaveTheirDispatchRule) {
  for (const Engine engine : kEngines) EXPECT_EQ(*parse_engine(name(engine)), engine);
  EXPECT_FALSE(parse_engine("vllm"));
  EXPECT_EQ(dispatch_rule(Engine::kSglang), dispatch::Rule::kSglang);
  EXPECT_EQ(dispatch_rule(Engine::kTrtllm), dispatch::Rule::kTrtllm);
  EXPECT_EQ(dispatch_rule(Engine::kVllmEplb), dispatch::Rule::kVllm);
  EXPECT_EQ(dispatch_rule(Engine::kVllmAscend), dispatch::Rule::kVllm);
}

/// The files written by hand from docs/export.md for the sample plan.
struct ByHand {
  Engine engine;
  const char* text;
};
const ByHand kByHand[] = {
    {Engine::kSglang,
     "{\"physical_to_logical_map\":[[0,1,2,3,0,1,2,3],[0,1,2,1,0,3,1,2],[0,1,2,3,0,1,2,3],"
     "[3,2,1,0,0,2,3,1],[0,1,2,3,0,1,2,3]]}\n"},
    {Engine::kTrtllm,
     "initial_global_assignments:\n  1: [0, 1, 2, 1, 0, 3, 1, 2]\n  3: [3, 2, 1, 0, 0, 2, 3, 1]\n"
     "layer_updates_per_iter: 0\nnum_slots: 8\n"},
    {Engine::kVllmEplb,
     "{\"initial_global_assignments\":{\"0\":[0,1,2,1,0,3,1,2],\"1\":[3,2,1,0,0,2,3,1]},"
     "\"num_redundant_experts\":4,\"num_slots\":8,\"record_type\":\"eplb_initial_mapping\",\"version\":1}\n"},
    {Engine::kVllmAscend,
     "{\"layer_list\":[{\"device_count\":4,\"device_list\":[{\"device_expert\":[0,1],\"device_id\":0},"
     "{\"device_expert\":[2,1],\"device_id\":1},{\"device_expert\":[0,3],\"device_id\":2},"
     "{\"device_expert\":[1,2],\"device_id\":3}],\"layer_id\":0},{\"device_count\":4,\"device_list\":["
     "{\"device_expert\":[3,2],\"device_id\":0},{\"device_expert\":[1,0],\"device_id\":1},"
     "{\"device_expert\":[0,2],\"device_id\":2},{\"device_expert\":[3,1],\"device_id\":3}],\"layer_id\":1}],"
     "\"moe_layer_count\":2}\n"},
};

TEST(Engines, FilesEqualThoseWrittenByHand) {
  const Plan plan = apart();
  for (const ByHand& one : kByHand) {
    const auto written = export_plan(plan, one.engine, kFile);
    ASSERT_TRUE(written) << written.error().message;
    EXPECT_EQ(written->bytes, one.text);
    const auto read =
        read_engine_file(one.text, one.engine, plan.shape, plan.placement.topology(), "by hand");
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(*read, plan.placement);
  }
}

TEST(Engines, LaunchFlagsNameTheFileTheSizeAndTheExtraSlots) {
  const Plan plan = apart();
  EXPECT_EQ(export_plan(plan, Engine::kSglang, kFile)->launch,
            "--init-expert-location plan.engine.json --ep-size 4 --ep-num-redundant-experts 4 --nnodes 2 "
            "--ep-dispatch-algorithm static");
  for (const Engine engine : kEngines) {
    const auto written = export_plan(plan, engine, kFile);
    EXPECT_NE(written->launch.find(kFile), std::string::npos) << written->launch;
    EXPECT_NE(written->launch.find('4'), std::string::npos) << written->launch;
  }
  const auto warnings = export_plan(plan, Engine::kVllmEplb, kFile)->warnings;
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_NE(warnings[0].find("41141"), std::string::npos);
}

TEST(Engines, SglangNeedsANameThatEndsInJson) {
  const auto written = export_plan(apart(), Engine::kSglang, "plan.map");
  ASSERT_FALSE(written);
  EXPECT_NE(written.error().message.find("rename the output to plan.map.json"), std::string::npos);
}

TEST(Engines, AscendRefusesTwoCopiesOnADeviceAndSaysWhatToDo) {
  Plan plan = apart();
  plan.placement = *Placement::make({.nodes = 2, .gpus_per_node = 2}, plan.shape.layers, 4, 2,
                                    testing::experts({0, 1, 2, 1, 0, 3, 1, 2, 3, 2, 1, 0, 2, 2, 3, 1}));
  const auto written = export_plan(plan, Engine::kVllmAscend, kFile);
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().kind, ErrorKind::kBadInput);
  EXPECT_NE(written.error().message.find("layer 3 puts two copies of expert 2 on GPU 2"), std::string::npos)
      << written.error().message;
  EXPECT_NE(written.error().message.find("--extra-slots"), std::string::npos);
  EXPECT_TRUE(export_plan(plan, Engine::kSglang, kFile));
}

/// One replacement in the file written by hand, and a part of the message it must give.
struct Wrong {
  Engine engine;
  const char *from, *to, *part;
};
const Wrong kWrong[] = {
    {Engine::kSglang, "]]}", "]],\"x\":1}", "x: unknown key"},
    {Engine::kSglang, "physical_to", "logical_to", "physical_to_logical_map: found nothing"},
    {Engine::kSglang, "[[0,1,2,3,0,1,2,3],", "[",
     "physical_to_logical_map: found an array of 4, expected an array of 5"},
    {Engine::kSglang, "[3,2,1,0,0,2,3,1]", "[3,2,1,0,0,2,3]", "map[3]: found an array of 7"},
    {Engine::kSglang, "[3,2,1,0,0,2,3,1]", "[3,2,1,0,0,2,3,4]",
     "map[3][7]: found 4, expected an expert id below 4"},
    {Engine::kSglang, "[3,2,1,0,0,2,3,1]", "[3,2,1,3,3,2,3,1]", "layer 3 has no slot for expert 0"},
    {Engine::kSglang, "[[0,1,2,3,0,1,2,3]", "[7", "map[0]: found 7, expected an array"},
    {Engine::kSglang, "[[0,1,2,3,0,1,2,3]", "[[0,1,2,3,0,1,2]", "expected a multiple of 4 GPUs"},
    {Engine::kTrtllm, "num_slots: 8", "num_slots: 6", "expected a multiple of 4 GPUs"},
    {Engine::kTrtllm, "num_slots: 8", "num_slots: 8\nep_size: 4", "ep_size"},
    {Engine::kTrtllm, "layer_updates_per_iter: 0\n", "", "layer_updates_per_iter"},
    {Engine::kTrtllm, "  3: [", "  2: [", "3"},
    {Engine::kTrtllm, "  3: [3, 2, 1, 0, 0, 2, 3, 1]\n", "",
     "found 1 layers, expected the model's 2 MoE layers"},
    {Engine::kTrtllm, "[3, 2, 1", "[2, 1", "layer 3: found 7 items, expected a list of 8 slots"},
    {Engine::kTrtllm, "[3, 2, 1", "[9, 2, 1", "line 3"},
    {Engine::kVllmEplb, "\"version\":1", "\"version\":2", "version: found 2"},
    {Engine::kVllmEplb, "eplb_initial", "eplb_final", "record_type: found \"eplb_final_mapping\""},
    {Engine::kVllmEplb, "redundant_experts\":4", "redundant_experts\":3",
     "num_slots: found 8, expected 4 experts + 3"},
    {Engine::kVllmEplb, "\"1\":[", "\"3\":[", "initial_global_assignments.1: found nothing"},
    {Engine::kVllmEplb, "\"1\":[3,", "\"1\":[", "initial_global_assignments.1: found an array of 7"},
    {Engine::kVllmEplb, "\"1\":[3,", "\"1\":[9,", "initial_global_assignments.1[0]: found 9"},
    {Engine::kVllmEplb, "}\n", "}\n{}\n", "exactly one line"},
    {Engine::kVllmEplb, "}\n", "}", "exactly one line"},
    {Engine::kVllmAscend, "_count\":2", "_count\":3", "moe_layer_count: found 3"},
    {Engine::kVllmAscend, "\"layer_id\":1", "\"layer_id\":3", "layer_list[1].layer_id: found 3"},
    {Engine::kVllmAscend, "\"device_id\":2", "\"device_id\":3", "device_list[2].device_id: found 3"},
    {Engine::kVllmAscend, "[2,1]", "[2]",
     "device_list[1].device_expert: found an array of 1, expected 2 experts"},
    {Engine::kVllmAscend, "[2,1]", "[2,2]", "expected its copies on different devices"},
    {Engine::kVllmAscend, "[2,1]", "[2,4]", "device_expert[1]: found 4"},
    {Engine::kVllmAscend, "device_count\":4", "device_count\":8", "device_count: found 8"},
};

TEST(Engines, ReadersRefuseEveryDeviationWithItsPlace) {
  const Plan plan = apart();
  for (const Wrong& wrong : kWrong) {
    const auto* good = std::ranges::find(kByHand, wrong.engine, &ByHand::engine);
    std::string text = good->text;
    const std::size_t at = text.find(wrong.from);
    ASSERT_NE(at, std::string::npos) << wrong.from;
    text.replace(at, std::string(wrong.from).size(), wrong.to);
    const auto read = read_engine_file(text, wrong.engine, plan.shape, plan.placement.topology(), "bad");
    ASSERT_FALSE(read) << wrong.to;
    EXPECT_EQ(read.error().kind, ErrorKind::kBadInput);
    EXPECT_NE(read.error().message.find("bad"), std::string::npos) << read.error().message;
    EXPECT_NE(read.error().message.find(wrong.part), std::string::npos) << read.error().message;
  }
}

TEST(Engines, ReadersRefuseEveryTruncation) {
  const Plan plan = apart();
  for (const ByHand& one : kByHand) {
    const std::string text = one.text;
    for (std::size_t length = 0; length + 2 < text.size(); ++length) {
      EXPECT_FALSE(
          read_engine_file(text.substr(0, length), one.engine, plan.shape, plan.placement.topology(), "cut"))
          << name(one.engine) << length;
    }
  }
}

RC_GTEST_PROP(EngineProperty, RandomPlacementsGoThroughEveryEngine, ()) {
  const Topology topology{.nodes = *rc::gen::inRange<std::size_t>(1, 4),
                          .gpus_per_node = *rc::gen::inRange<std::size_t>(1, 4)};
  const auto per_gpu = *rc::gen::inRange<std::size_t>(1, 4);
  const std::size_t slots = topology.gpus() * per_gpu;
  const auto experts = *rc::gen::inRange<std::size_t>(1, slots + 1);
  ModelShape shape{.model = "m", .model_layers = 12, .layers = {}, .experts = experts, .top_k = 1};
  std::vector<ExpertId> all;
  for (std::size_t layer = *rc::gen::inRange<std::size_t>(0, 4); layer < 12;
       layer += *rc::gen::inRange<std::size_t>(1, 5)) {
    shape.layers.push_back(LayerId(layer));
    std::vector<ExpertId> row;
    for (std::size_t slot = 0; slot < slots; ++slot) row.push_back(ExpertId(slot % experts));
    for (std::size_t i = slots; i > 1; --i) std::swap(row[i - 1], row[*rc::gen::inRange<std::size_t>(0, i)]);
    all.insert(all.end(), row.begin(), row.end());
  }
  const auto placement = Placement::make(topology, shape.layers, experts, per_gpu, all);
  RC_ASSERT(placement.has_value());
  const Plan plan{.shape = shape, .placement = *placement};
  bool doubled = false;
  for (std::size_t begin = 0; begin < all.size(); begin += per_gpu) {
    std::vector<ExpertId> gpu(all.begin() + static_cast<std::ptrdiff_t>(begin),
                              all.begin() + static_cast<std::ptrdiff_t>(begin + per_gpu));
    std::ranges::sort(gpu);
    doubled = doubled || std::ranges::adjacent_find(gpu) != gpu.end();
  }
  for (const Engine engine : kEngines) {
    const auto written = export_plan(plan, engine, kFile);
    RC_ASSERT(written.has_value() == !(engine == Engine::kVllmAscend && doubled));
    if (!written) continue;
    const auto read = read_engine_file(written->bytes, engine, shape, topology, "back");
    RC_ASSERT(read.has_value());
    RC_ASSERT(*read == *placement);
  }
}

}  // namespace
}  // namespace moesaic::artifact
