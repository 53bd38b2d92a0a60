// `moesaic microbatch` as a process, on the sample: what it promises, and what it refuses.
#include "io/json.hpp"
#include "support/paths.hpp"
#include "support/program.hpp"
#include "support/temporary_folder.hpp"

namespace moesaic {
namespace {

using testing::run_moesaic;

class Microbatch : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto imported =
        run_moesaic({"import", moesaic::testing::source_path("samples/moesaic-mini"), "-o", at("t.zarr")});
    ASSERT_EQ(imported.exit_code, 0) << imported.err;
  }
  std::string at(const std::string& name) const { return folder_ / name; }

  testing::ProgramResult study(std::vector<std::string> more) const {
    std::vector<std::string> arguments = {"microbatch", at("t.zarr"), "--batches", "100", "--seeds", "2"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_moesaic(arguments);
  }

  const testing::TemporaryFolder folder_;
};

double figure(const Json& pool, const char* picker, const char* name) {
  double value = -1;
  EXPECT_TRUE(pool.find("policies")->find(picker)->find(name)->to_double(value));
  return value;
}

TEST_F(Microbatch, ReadsATenthFewerExpertsThanFirstInFirstOut) {
  const auto done = study({"--requests", "8,10", "--pool", "48", "--json", at("m.json")});
  ASSERT_EQ(done.exit_code, 0) << done.err;
  EXPECT_NE(done.out.find("8 of 48 requests in flight"), std::string::npos) << done.out;
  const auto json = io::read_json(io::real_files(), at("m.json"));
  ASSERT_TRUE(json) << json.error().message;
  ASSERT_EQ(json->find("pools")->as_array()->size(), 2u);
  for (const Json& pool : *json->find("pools")->as_array()) {
    const double fifo = figure(pool, "fifo", "experts_per_step");
    EXPECT_LT(figure(pool, "expected", "experts_per_step"), 0.9 * fifo);
    EXPECT_LT(figure(pool, "observed", "experts_per_step"), 0.9 * fifo);
    EXPECT_LE(figure(pool, "expected", "longest_wait"), 32);
  }
}

TEST_F(Microbatch, AllMayBeServedWhereServedRequestsTeachEachOther) {
  const auto done = study({"--requests", "8", "--pool", "128", "--one-in", "1", "--predict-folds", "5",
                           "--max-wait", "64", "--json", at("m.json")});
  ASSERT_EQ(done.exit_code, 0) << done.err;
  EXPECT_NE(done.out.find("200 requests served, 0 others learnt from"), std::string::npos) << done.out;
  EXPECT_NE(done.out.find("4 of 5 parts"), std::string::npos) << done.out;
  const auto json = io::read_json(io::real_files(), at("m.json"));
  ASSERT_TRUE(json) << json.error().message;
  const Json& pool = json->find("pools")->as_array()->at(0);
  EXPECT_LT(figure(pool, "expected", "experts_per_step"), 0.85 * figure(pool, "fifo", "experts_per_step"));
  EXPECT_LE(figure(pool, "expected", "longest_wait"), 64);
}

TEST_F(Microbatch, APlansHomesSendFewerCopies) {
  const auto planned =
      run_moesaic({"plan", at("t.zarr"), "--nodes", "2", "--gpus-per-node", "2", "-o", at("plan.json")});
  ASSERT_EQ(planned.exit_code, 0) << planned.err;
  const auto done =
      study({"--pool", "48", "--plan", at("plan.json"), "--copy-price", "4", "--json", at("m.json")});
  ASSERT_EQ(done.exit_code, 0) << done.err;
  EXPECT_NE(done.out.find("node copies"), std::string::npos) << done.out;
  const auto json = io::read_json(io::real_files(), at("m.json"));
  ASSERT_TRUE(json) << json.error().message;
  for (const Json& pool : *json->find("pools")->as_array()) {
    EXPECT_LT(figure(pool, "expected", "node_copies_per_token"),
              0.95 * figure(pool, "fifo", "node_copies_per_token"));
  }
}

TEST_F(Microbatch, RefusesWhatItCannotPickFrom) {
  const auto large = study({"--pool", "4000"});
  EXPECT_EQ(large.exit_code, 2);
  EXPECT_NE(large.err.find("give a smaller pool or a longer trace"), std::string::npos) << large.err;
  const auto mode = study({"--mode", "padded"});
  EXPECT_EQ(mode.exit_code, 2);
  EXPECT_NE(mode.err.find("--mode padded: expected dedup or per-expert."), std::string::npos) << mode.err;
  EXPECT_EQ(study({"--plan", at("none.json")}).exit_code, 2);
  const auto nobody = study({"--one-in", "1"});
  EXPECT_EQ(nobody.exit_code, 2);
  EXPECT_NE(nobody.err.find("give --predict-folds 2 or more"), std::string::npos) << nobody.err;
  const auto one = study({"--predict-folds", "1"});
  EXPECT_EQ(one.exit_code, 2);
  EXPECT_NE(one.err.find("leaves nobody to learn from"), std::string::npos) << one.err;
}

}  // namespace
}  // namespace moesaic
