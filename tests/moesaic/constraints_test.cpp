// What a plan must keep to, through the program: pins, missing GPUs, memory.
#include "artifact/plan.hpp"
#include "io/files.hpp"
#include "placement/pins.hpp"
#include "planning/pin_list.hpp"
#include "support/paths.hpp"
#include "support/program.hpp"
#include "support/temporary_folder.hpp"

namespace moesaic {
namespace {

using testing::run_moesaic;

class Constraints : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto imported =
        run_moesaic({"import", testing::source_path("samples/moesaic-mini"), "-o", at("t.zarr")});
    ASSERT_EQ(imported.exit_code, 0) << imported.err;
  }
  std::string at(const std::string& name) const { return folder_ / name; }
  testing::ProgramResult plan(std::vector<std::string> more) const {
    std::vector<std::string> arguments = {"plan", at("t.zarr"), "--nodes",    "2",      "--gpus-per-node",
                                          "2",    "-o",         at("p.json"), "--force"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_moesaic(arguments);
  }
  artifact::Plan written() const { return *artifact::read_plan(io::real_files(), at("p.json")); }
  void refused(std::vector<std::string> more, const std::string& part) const {
    const auto result = plan(std::move(more));
    EXPECT_EQ(result.exit_code, 2) << result.err;
    EXPECT_NE(result.err.find(part), std::string::npos) << result.err;
  }
  const testing::TemporaryFolder folder_;
};

TEST_F(Constraints, PinsOfTheCommandLineAndOfAFileAreKeptAndRecorded) {
  ASSERT_TRUE(
      io::write_file_atomically(io::real_files(), at("pins.txt"), "*:5:1.0  # no matter what\n", false));
  const auto planned = plan({"--pin", "*:0:1,*:0:0", "--pin", "@" + at("pins.txt"), "--extra-slots", "4"});
  ASSERT_EQ(planned.exit_code, 0) << planned.err;
  const artifact::Plan made = written();
  EXPECT_TRUE(made.constraints_met);
  std::vector<placement::Pin> pins;
  for (const Json& text : *made.algorithm.options.find("pins")->as_array()) {
    const auto one = planning::parse_pin(*text.as_string(), made.shape, "plan");
    ASSERT_TRUE(one) << one.error().message;
    pins.insert(pins.end(), one->begin(), one->end());
  }
  EXPECT_EQ(pins.size(), 3 * made.shape.layers.size());
  EXPECT_TRUE(placement::unmet_pins(pins, made.placement).empty());
}

TEST_F(Constraints, ThatCannotBeKeptAreRefusedWithAReason) {
  refused({"--pin", "0:1"}, "expected LAYER:EXPERT:NODE");
  refused({"--pin", "*:0:0,*:0:1"}, "--extra-slots");
  refused({"--pin", "*:0:0", "-a", "eplb"}, "eplb reproduces what others do");
  refused({"--pin", "@" + at("none.txt")}, "none.txt");
}

TEST_F(Constraints, WhatDoesNotGoTogetherIsRefusedWithAReason) {
  refused({"--robust", "weeks"}, "expected domains, or windows:K");
  refused({"--robust", "domains", "-a", "eplb"}, "eplb cannot weigh");
  refused({"--robust", "domains", "--robust-goal", "best"}, "expected worst or mean");
  refused({"--robust", "domains", "--robust-weights", "1,2"}, "give --robust-goal mean");
  refused({"--robust", "domains", "--optimize", "time"}, "cannot be with it");
  refused({"--robust", "domains", "--from", at("p.json")}, "make a new plan");
  refused({"--optimize", "time", "-a", "eplb"}, "chooses among plans of moesaic");
  refused({"--optimize", "speed"}, "expected dedup, per-expert, time or time-per-expert");
  const auto compared = run_moesaic(
      {"compare", at("t.zarr"), "--nodes", "2", "--gpus-per-node", "2", "--across", "--domains", "en"});
  EXPECT_EQ(compared.exit_code, 2);
  EXPECT_NE(compared.err.find("leave out --domains"), std::string::npos) << compared.err;
}

TEST_F(Constraints, AMeanImbalanceIsSharedByTheLayersOrAMiss) {
  const auto copies = [&](const std::string& limit) {
    const auto planned = plan({"--mean-imbalance", limit});
    EXPECT_EQ(planned.exit_code, 0) << planned.err;
    const artifact::Plan made = written();
    EXPECT_TRUE(made.constraints_met);
    EXPECT_EQ(made.algorithm.max_imbalance, 0);
    std::pair<double, double> found;
    EXPECT_TRUE(made.algorithm.options.find("mean_imbalance")->to_double(found.first));
    EXPECT_TRUE(made.score.find("node_max_over_mean")->to_double(found.second));
    return found;
  };
  const auto [even, even_scored] = copies("1.25");
  const auto [loose, loose_scored] = copies("1.6");
  EXPECT_EQ(even, 1.25);
  EXPECT_EQ(loose, 1.6);
  EXPECT_LT(even_scored, loose_scored);
  EXPECT_EQ(plan({"--mean-imbalance", "1.001"}).exit_code, 1);
  EXPECT_FALSE(written().constraints_met);
  refused({"--mean-imbalance", "1.2", "--extra-slots", "4"}, "with replicas every layer keeps");
  refused({"--mean-imbalance", "1.2", "--pin", "*:0:0"}, "with pinned experts");
  refused({"--mean-imbalance", "1.2", "-a", "eplb"}, "--algorithm eplb has no such limit");
  refused({"--mean-imbalance", "1.2", "--robust", "domains"}, "keep a limit in each layer");
}

TEST_F(Constraints, APartAloneAboveTheLimitIsAMiss) {
  const auto missed = plan({"--robust", "windows:3", "--robust-goal", "mean", "--max-imbalance", "1.4"});
  EXPECT_EQ(missed.exit_code, 1) << missed.err;
  EXPECT_NE(missed.err.find("layers or parts (constraints_met: false)"), std::string::npos) << missed.err;
  EXPECT_EQ(missed.out.find("Layer "), std::string::npos) << "all layers keep to it: " << missed.out;
  EXPECT_NE(missed.out.find("Part window 2 alone is above --max-imbalance 1.4"), std::string::npos)
      << missed.out;
  EXPECT_FALSE(written().constraints_met);
  EXPECT_EQ(plan({"--robust", "windows:3", "--robust-goal", "mean", "--max-imbalance", "2.5"}).exit_code, 0);
  EXPECT_TRUE(written().constraints_met);
}

TEST_F(Constraints, AChangeWithinABudgetThatMissesAPinSaysSo) {
  ASSERT_EQ(plan({"-a", "linear"}).exit_code, 0);
  ASSERT_EQ(std::rename(at("p.json").c_str(), at("from.json").c_str()), 0);
  const auto changed = plan({"--from", at("from.json"), "--max-moves", "0", "--pin", "*:0:1"});
  EXPECT_EQ(changed.exit_code, 1) << changed.err;
  EXPECT_FALSE(written().constraints_met);
  EXPECT_NE(changed.out.find("A pin is missed: layer 0 expert 0 on node 1."), std::string::npos)
      << changed.out;
}

TEST_F(Constraints, MissingGpusMakeASmallerPlanThatSaysWhichGpusItIsFor) {
  const auto planned = plan({"--missing-gpus", "3,0"});
  ASSERT_EQ(planned.exit_code, 0) << planned.err;
  const artifact::Plan made = written();
  EXPECT_EQ(made.placement.topology(), (Topology{.nodes = 2, .gpus_per_node = 1}));
  ASSERT_TRUE(made.cluster);
  EXPECT_EQ(made.cluster->missing, (std::vector{GpuId(0), GpuId(3)}));
  EXPECT_EQ(run_moesaic({"evaluate", at("p.json"), at("t.zarr")}).exit_code, 0);
  const auto exported = run_moesaic({"export", at("p.json"), "--to", "sglang", "-o", at("s.json")});
  ASSERT_EQ(exported.exit_code, 0) << exported.err;
  EXPECT_NE(exported.out.find("machine 0: CUDA_VISIBLE_DEVICES=1 (node 0 of the plan)"), std::string::npos);
  EXPECT_NE(exported.out.find("machine 1: CUDA_VISIBLE_DEVICES=0 (node 1 of the plan)"), std::string::npos)
      << exported.out;
  refused({"--missing-gpus", "3"}, "(--missing-gpus 1,3) or whole nodes (--missing-gpus 2,3)");
  refused({"--missing-gpus", "4"}, "expected ids below 4");
}

TEST_F(Constraints, MemoryBuysSlotsUpToEveryExpert) {
  const auto planned = plan({"--memory-gib", "1000000", "--model", "gpt-oss-20b"});
  ASSERT_EQ(planned.exit_code, 0) << planned.err;
  EXPECT_EQ(written().placement.slots_per_gpu(), written().shape.experts);
}

}  // namespace
}  // namespace moesaic
