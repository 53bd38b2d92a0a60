// moesaic verify on dumps of an engine that runs the plan, runs another, or sees other loads.
#include <algorithm>
#include <filesystem>
#include <optional>
#include <span>
#include <utility>

#include "artifact/plan.hpp"
#include "io/files.hpp"
#include "io/json.hpp"
#include "support/paths.hpp"
#include "support/program.hpp"
#include "support/temporary_folder.hpp"

namespace moesaic {
namespace {

using testing::run_moesaic;

const std::string kSample = moesaic::testing::source_path("samples/moesaic-mini");

class Verify : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(run_moesaic({"import", kSample, "-o", at("mini.zarr")}).exit_code, 0);
    const auto planned = run_moesaic({"plan", at("mini.zarr"), "--nodes", "2", "--gpus-per-node", "2",
                                      "--extra-slots", "8", "-a", "eplb", "-o", at("plan.json")});
    ASSERT_EQ(planned.exit_code, 0) << planned.err;
    auto plan = artifact::read_plan(io::real_files(), at("plan.json"));
    ASSERT_TRUE(plan) << plan.error().message;
    plan_ = *std::move(plan);
  }

  std::string at(const std::string& name) const { return folder_ / name; }

  /// vLLM's load records of an engine with `slots` [L, P] that serves `loads` [L, E], four windows alike.
  void dump(const std::vector<ExpertId>& slots, const std::vector<double>& loads) const {
    const std::size_t layers = plan_->shape.layers.size(), experts = plan_->shape.experts;
    const std::size_t width = slots.size() / layers;
    std::string text =
        "{\"record_type\":\"eplb_load_meta\",\"version\":1,\"num_layers\":" + std::to_string(layers) + "}\n";
    Json::Array load_rows, map_rows;
    for (std::size_t row = 0; row < layers; ++row) {
      Json::Array load, map;
      for (std::size_t slot = 0; slot < width; ++slot) {
        const auto of_row = std::span(slots).subspan(row * width, width);
        // Whole counts, as an engine has: the first copies of an expert take what does not divide.
        const auto copies = static_cast<std::uint64_t>(std::ranges::count(of_row, of_row[slot]));
        const auto before = static_cast<std::uint64_t>(std::ranges::count(of_row.first(slot), of_row[slot]));
        const auto rows = static_cast<std::uint64_t>(loads[row * experts + index(of_row[slot])]);
        map.push_back(index(of_row[slot]));
        load.push_back(rows / copies + (before < rows % copies ? 1 : 0));
      }
      load_rows.push_back(std::move(load));
      map_rows.push_back(std::move(map));
    }
    Json record;
    record["record_type"] = "eplb_load_stats";
    record["version"] = 1;
    record["expert_load"] = std::move(load_rows);
    record["p2l_map"] = std::move(map_rows);
    for (std::size_t window = 0; window < 4; ++window) {
      record["step"] = window;
      text += record.dump() + "\n";
    }
    ASSERT_TRUE(io::write_file_atomically(io::real_files(), at("dump.jsonl"), text, true));
  }

  testing::ProgramResult verify(std::vector<std::string> more = {}) const {
    std::vector<std::string> words{"verify", at("plan.json"), at("dump.jsonl")};
    words.insert(words.end(), more.begin(), more.end());
    return run_moesaic(words);
  }

  std::vector<ExpertId> slots() const {
    const auto all = plan_->placement.all_slots();
    return {all.begin(), all.end()};
  }

  const testing::TemporaryFolder folder_;
  std::optional<artifact::Plan> plan_;
};

TEST_F(Verify, AnEngineThatRunsThePlanUnderItsLoadsIsFine) {
  dump(slots(), plan_->loads);
  const auto done = verify({"--json", at("v.json")});
  EXPECT_EQ(done.exit_code, 0) << done.out << done.err;
  EXPECT_NE(done.out.find("the engine runs"), std::string::npos) << done.out;
  EXPECT_NE(done.out.find("still fit the plan"), std::string::npos) << done.out;
  const auto json = io::read_json(io::real_files(), at("v.json"));
  ASSERT_TRUE(json) << json.error().message;
  EXPECT_EQ(*json->find("replan"), Json(false));
  EXPECT_EQ(*json->find("running")->find("runs"), Json(true));
  EXPECT_EQ(json->find("parts")->as_array()->size(), 4u);
  double distance = 1;
  ASSERT_TRUE(json->find("observed")->find("distance")->to_double(distance));
  EXPECT_NEAR(distance, 0, 1e-9);
}

TEST_F(Verify, AnotherPlacementIsNotThePlan) {
  auto moved = slots();
  std::swap(moved.front(), moved[plan_->placement.slots() - 1]);  // first GPU and last
  dump(moved, plan_->loads);
  const auto done = verify();
  EXPECT_EQ(done.exit_code, 1) << done.out;
  EXPECT_NE(done.out.find("does NOT run"), std::string::npos) << done.out;
  EXPECT_NE(done.err.find("launch flags"), std::string::npos) << done.err;

  std::vector<ExpertId> as_started;
  for (std::size_t i = 0; i < moved.size(); ++i) {
    as_started.push_back(ExpertId(i % plan_->placement.slots() % plan_->shape.experts));
  }
  dump(as_started, plan_->loads);
  EXPECT_NE(verify().out.find("its default map"), std::string::npos) << verify().out;
}

TEST_F(Verify, LoadsThatMovedAskForANewPlan) {
  // Everything goes to the experts of the first GPU: EPLB could spread them, the plan does not.
  std::vector<double> loads(plan_->loads.size(), 1);
  for (std::size_t row = 0; row < plan_->shape.layers.size(); ++row) {
    for (std::size_t slot = 0; slot < plan_->placement.slots_per_gpu(); ++slot) {
      loads[row * plan_->shape.experts + index(plan_->placement.layer(row)[slot])] = 1000;
    }
  }
  dump(slots(), loads);
  const auto done = verify({"--store", at("dump.zarr")});
  EXPECT_EQ(done.exit_code, 1) << done.out;
  EXPECT_NE(done.err.find("time to re-plan: GPU max/mean"), std::string::npos) << done.err;
  EXPECT_NE(done.err.find("since part 1 of 4"), std::string::npos) << done.err;
  EXPECT_NE(done.err.find("--from"), std::string::npos) << done.err;
  // What was kept is a store that can be verified in turn; its map is gone with the dump.
  const auto again = run_moesaic({"verify", at("plan.json"), at("dump.zarr")});
  EXPECT_EQ(again.exit_code, 1) << again.err;
  EXPECT_NE(again.out.find("does not say"), std::string::npos) << again.out;
  EXPECT_EQ(verify({"--tolerance", "9"}).exit_code, 0);
}

TEST_F(Verify, TheTraceOfThePlanItselfKeepsItsPromise) {
  const auto done = run_moesaic({"verify", at("plan.json"), at("mini.zarr")});
  EXPECT_EQ(done.exit_code, 0) << done.out << done.err;
  EXPECT_NE(done.out.find("Node copies a token and layer"), std::string::npos) << done.out;
}

TEST_F(Verify, BadInputIsRefusedWithOneMessage) {
  ASSERT_TRUE(io::write_file_atomically(io::real_files(), at("dump.jsonl"), "{\"a\":1}\n", true));
  EXPECT_EQ(verify().exit_code, 2);
  EXPECT_EQ(run_moesaic({"verify", at("plan.json"), at("none")}).exit_code, 2);
  EXPECT_EQ(run_moesaic({"verify", at("none.json"), at("mini.zarr")}).exit_code, 2);
  EXPECT_EQ(run_moesaic({"verify", at("plan.json")}).exit_code, 2);
  dump(slots(), plan_->loads);
  EXPECT_EQ(verify({"--format", "trtllm"}).exit_code, 2);
  EXPECT_FALSE(std::filesystem::exists(at("dump.zarr")));
}

}  // namespace
}  // namespace moesaic
