// The main job as its user runs it: the program, on the sample, as real processes.
#include <sys/wait.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>

#include "io/files.hpp"
#include "io/json.hpp"
#include "support/paths.hpp"
#include "support/program.hpp"
#include "support/temporary_folder.hpp"
#include "trace/writer.hpp"

namespace moesaic {
namespace {

using testing::run_moesaic;

const std::string kSample = moesaic::testing::source_path("samples/moesaic-mini");

class MainJob : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto imported = run_moesaic({"import", kSample, "-o", store()});
    ASSERT_EQ(imported.exit_code, 0) << imported.err;
  }

  std::string store() const { return folder_ / "mini.zarr"; }
  std::string at(const std::string& name) const { return folder_ / name; }

  std::vector<std::string> plan(const std::string& output, std::vector<std::string> more = {}) const {
    std::vector<std::string> arguments = {"plan", store(), "--nodes", "2", "--gpus-per-node",
                                          "2",    "-o",    output};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }

  std::string bytes(const std::string& path) const {
    const auto text = io::read_file(io::real_files(), path, 64 << 20);
    EXPECT_TRUE(text) << text.error().message;
    return text.value_or("");
  }

  double number(const Json& json, std::initializer_list<std::string_view> path) const {
    const Json* at = &json;
    for (const std::string_view key : path) {
      at = at->find(key);
      if (at == nullptr) {
        ADD_FAILURE() << "no key " << key;
        return 0;
      }
    }
    double value = 0;
    EXPECT_TRUE(at->to_double(value));
    return value;
  }

  const testing::TemporaryFolder folder_;
};

TEST_F(MainJob, PlansThatAreBetterThanChanceOnRequestsTheyHaveNotSeen) {
  const auto planned = run_moesaic(plan(at("plan.json"), {"--json", at("result.json")}));
  ASSERT_EQ(planned.exit_code, 0) << planned.err;
  EXPECT_NE(planned.out.find("Scored on what it has not seen"), std::string::npos) << planned.out;
  const auto result = io::read_json(io::real_files(), at("result.json"));
  ASSERT_TRUE(result) << result.error().message;
  const double own = number(*result, {"dedup", "node_copies_per_token_layer"});
  EXPECT_GT(own, 0);
  EXPECT_LT(own, number(*result, {"baselines", "random", "dedup", "node_copies_per_token_layer"}));
}

TEST_F(MainJob, PlansAreTheSameBytesAtAnyThreadCount) {
  // Those that differ in what they share between layers or threads; all run over the same pool of layers.
  for (const char* algorithm : {"random", "eplb", "coactivation", "metis", "tacg", "patterns", "moesaic"}) {
    ASSERT_EQ(run_moesaic(plan(at("one.json"), {"-a", algorithm, "--threads", "1", "--force"})).exit_code, 0);
    ASSERT_EQ(run_moesaic(plan(at("two.json"), {"-a", algorithm, "--threads", "2", "--force"})).exit_code, 0);
    EXPECT_EQ(bytes(at("one.json")), bytes(at("two.json"))) << algorithm;
  }
}

TEST_F(MainJob, ARunningPlanIsChangedWithinItsBudget) {
  ASSERT_EQ(run_moesaic(plan(at("linear.json"), {"--algorithm", "linear"})).exit_code, 0);
  const auto change = [&](const std::string& output, const std::string& moves) {
    const auto done = run_moesaic(plan(output, {"--from", at("linear.json"), "--max-moves", moves,
                                                "--domains", "math,en", "--json", at("r.json")}));
    EXPECT_EQ(done.exit_code, 0) << done.err;
    EXPECT_NE(done.out.find("Against the running plan"), std::string::npos) << done.out;
    const auto result = io::read_json(io::real_files(), at("r.json"));
    EXPECT_TRUE(result);
    return *result;
  };
  const Json none = change(at("none.json"), "0");
  EXPECT_EQ(number(none, {"change", "moves"}), 0);
  EXPECT_EQ(number(none, {"change", "before", "dedup", "node_copies_per_token_layer"}),
            number(none, {"change", "after", "dedup", "node_copies_per_token_layer"}));
  const Json all = change(at("all.json"), "100000");
  EXPECT_GT(number(all, {"change", "moves"}), 0);
  EXPECT_LT(number(all, {"change", "after", "dedup", "node_copies_per_token_layer"}),
            number(all, {"change", "before", "dedup", "node_copies_per_token_layer"}));
  const Json some = change(at("some.json"), "8");
  EXPECT_LE(number(some, {"change", "moves"}), 8);
}

TEST_F(MainJob, ABudgetNeedsARunningPlanOfTheSameShape) {
  const auto alone = run_moesaic(plan(at("p.json"), {"--max-moves", "3"}));
  EXPECT_EQ(alone.exit_code, 2);
  EXPECT_NE(alone.err.find("--from"), std::string::npos) << alone.err;
  ASSERT_EQ(run_moesaic(plan(at("more.json"), {"--extra-slots", "8"})).exit_code, 0);
  const auto other = run_moesaic(plan(at("p.json"), {"--from", at("more.json")}));
  EXPECT_EQ(other.exit_code, 2);
  EXPECT_NE(other.err.find("--slots-per-gpu"), std::string::npos) << other.err;
  const auto domain = run_moesaic(plan(at("p.json"), {"--domains", "no-such-domain"}));
  EXPECT_EQ(domain.exit_code, 2);
  EXPECT_NE(domain.err.find("no-such-domain"), std::string::npos) << domain.err;
}

TEST_F(MainJob, ExportsToEveryEngineAndSaysHowToLaunchIt) {
  ASSERT_EQ(run_moesaic(plan(at("plan.json"), {"--extra-slots", "8"})).exit_code, 0);
  for (const char* engine : {"sglang", "trtllm", "vllm-eplb", "vllm-ascend"}) {
    const auto exported =
        run_moesaic({"export", at("plan.json"), "--to", engine, "-o", at(std::string(engine) + ".json")});
    ASSERT_EQ(exported.exit_code, 0) << engine << ": " << exported.err;
    EXPECT_NE(exported.out.find("Launch with:"), std::string::npos) << exported.out;
    EXPECT_NE(exported.out.find("lost"), std::string::npos) << exported.out;
  }
}

TEST_F(MainJob, AnExistingPlanIsKeptUnlessForced) {
  ASSERT_EQ(run_moesaic(plan(at("plan.json"), {"-a", "linear"})).exit_code, 0);
  const std::string before = bytes(at("plan.json"));
  const auto again = run_moesaic(plan(at("plan.json"), {"-a", "random"}));
  EXPECT_EQ(again.exit_code, 2);
  EXPECT_NE(again.err.find("--force"), std::string::npos) << again.err;
  EXPECT_EQ(bytes(at("plan.json")), before);
  EXPECT_EQ(run_moesaic(plan(at("plan.json"), {"-a", "random", "--force"})).exit_code, 0);
  EXPECT_NE(bytes(at("plan.json")), before);
}

TEST_F(MainJob, APlanThatMissesItsLimitIsWrittenAndTheAnswerIsNo) {
  const auto planned = run_moesaic(plan(at("plan.json"), {"-a", "linear", "--max-imbalance", "1.0001"}));
  EXPECT_EQ(planned.exit_code, 1) << planned.err;
  EXPECT_NE(planned.err.find("constraints_met: false"), std::string::npos) << planned.err;
  EXPECT_NE(bytes(at("plan.json")).find("\"constraints_met\": false"), std::string::npos);
}

TEST_F(MainJob, BadUsageAndBadInputExitTwoWithOneMessageAndNoOutput) {
  const auto expect = [&](const std::vector<std::string>& arguments, const std::string& part) {
    const auto result = run_moesaic(arguments);
    EXPECT_EQ(result.exit_code, 2) << result.err;
    EXPECT_NE(result.err.find(part), std::string::npos) << result.err;
    EXPECT_FALSE(std::filesystem::exists(at("none.json")));
  };
  expect(plan(at("none.json"), {"-a", "magic"}), "expected one of linear");
  expect(plan(at("none.json"), {"--extra-slots", "3"}), "--extra-slots 4");
  expect(plan(at("none.json"), {"--attention", "both"}), "expected dp or tp");
  expect(plan(at("none.json"), {"--requests", "heldout"}), "for scoring");
  expect(plan(at("none.json"), {"--predict-from", "fraction:2"}), "expected prefill");
  expect({"plan", at("missing.zarr"), "--nodes", "2", "--gpus-per-node", "2", "-o", at("none.json")},
         "missing.zarr");
  expect({"evaluate", at("missing.json"), store()}, "missing.json");
  expect({"compare", store(), "--nodes", "2", "--gpus-per-node", "2", "-a", "moesaic@nobody"}, "nobody");
  expect({"plan"}, "required");
  expect({"magic"}, "");
}

TEST_F(MainJob, AKilledPlanLeavesNothingHalf) {
  // Reference bytes, and how long the work takes at most.
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_EQ(run_moesaic(plan(at("whole.json"))).exit_code, 0);
  const auto length =
      std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - begin);
  const std::string whole = bytes(at("whole.json"));
  int killed = 0;
  for (int i = 0; i < 10; ++i) {
    std::filesystem::remove(at("plan.json"));
    const auto result = testing::kill_moesaic_after(length * (i + 1) / 10, plan(at("plan.json")));
    killed += result.signal != 0 ? 1 : 0;
    if (std::filesystem::exists(at("plan.json"))) {
      EXPECT_EQ(bytes(at("plan.json")), whole);
    }
  }
  EXPECT_GT(killed, 0);
  // What a kill may leave beside the plan does not stop the next run.
  ASSERT_EQ(run_moesaic(plan(at("plan.json"), {"--force"})).exit_code, 0);
  EXPECT_EQ(bytes(at("plan.json")), whole);
}

TEST_F(MainJob, AReadOnlyOrFullTargetLeavesNothing) {
  const auto result = run_moesaic(plan("/proc/plan.json", {"-a", "linear"}));
  EXPECT_NE(result.exit_code, 0);
  EXPECT_NE(result.err.find("/proc/plan.json"), std::string::npos) << result.err;
  // A file may grow to 512 bytes here, as on a disk that is full: the write fails half way.
  const std::string command = "ulimit -f 1; " + moesaic::testing::program_path() + " plan " + store() +
                              " --nodes 2 --gpus-per-node 2 -a linear -o " + at("full.json") + " > " +
                              at("out") + " 2>&1";
  const int status = std::system(command.c_str());
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 3);
  EXPECT_FALSE(std::filesystem::exists(at("full.json")));
  EXPECT_FALSE(std::filesystem::exists(at("full.json.tmp")));
}

TEST_F(MainJob, TheRequestsOfAFileCanBeScored) {
  ASSERT_EQ(run_moesaic(plan(at("plan.json"))).exit_code, 0);
  ASSERT_TRUE(io::write_file_atomically(io::real_files(), at("ids"), "no such request\n", false));
  const auto wrong = run_moesaic({"evaluate", at("plan.json"), store(), "--requests", "@" + at("ids")});
  EXPECT_EQ(wrong.exit_code, 2);
  EXPECT_NE(wrong.err.find("no such request"), std::string::npos) << wrong.err;
  const auto in_sample = run_moesaic({"evaluate", at("plan.json"), store(), "--requests", "all"});
  EXPECT_EQ(in_sample.exit_code, 0);
  EXPECT_NE(in_sample.out.find("in sample"), std::string::npos) << in_sample.out;
}

TEST_F(MainJob, TheTimeOfAStepIsModelledBesideThatOfLinear) {
  ASSERT_EQ(run_moesaic(plan(at("plan.json"))).exit_code, 0);
  const auto timed = run_moesaic({"evaluate", at("plan.json"), store(), "--time", "--batch", "16",
                                  "--hardware", "h20", "--json", at("time.json")});
  ASSERT_EQ(timed.exit_code, 0) << timed.err;
  const std::size_t table = timed.out.find("Modelled, not measured");
  ASSERT_NE(table, std::string::npos) << timed.out;
  for (std::size_t begin = table; begin < timed.out.find("note: ", table);) {
    const std::size_t end = std::min(timed.out.find('\n', begin), timed.out.size());
    EXPECT_LE(end - begin, 100u) << timed.out.substr(begin, end - begin);
    begin = end + 1;
  }
  const auto json = io::read_json(io::real_files(), at("time.json"));
  ASSERT_TRUE(json) << json.error().message;
  for (const std::string_view kernel : {"dedup", "per_expert"}) {
    const double layer = number(*json, {"time", "plan", kernel, "layer_us"});
    EXPECT_GE(layer, number(*json, {"time", "plan", kernel, "balanced_layer_us"}));
    EXPECT_DOUBLE_EQ(number(*json, {"time", "baselines", "linear", kernel, "step_over_linear"}), 1);
    // 6 layers, and 20 us a layer and 0.2 us a token for the rest.
    const double step = 6 * (layer + 20) / 1e3 + 16 * 0.2 / 1e3;
    EXPECT_NEAR(number(*json, {"time", "plan", kernel, "step_ms"}), step, 1e-9);
    const double tokens = number(*json, {"time", "tokens"}) / number(*json, {"time", "steps"});
    EXPECT_NEAR(tokens, 64, 4);
    EXPECT_NEAR(number(*json, {"time", "plan", kernel, "tokens_per_second"}), tokens / step * 1e3, 1e-6);
  }

  const auto wrong = [&](std::vector<std::string> more, const std::string& said) {
    std::vector<std::string> arguments = {"evaluate", at("plan.json"), store(), "--time"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const auto result = run_moesaic(arguments);
    EXPECT_EQ(result.exit_code, 2);
    EXPECT_NE(result.err.find(said), std::string::npos) << result.err;
  };
  wrong({"--hardware", "abacus"}, "h100, h20, h200, h800");
  wrong({"--batch", "900000"}, "give --batch at most that");
  wrong({"--batch", "0"}, "--batch");
}

TEST_F(MainJob, ATimeNeedsTokensAndAModelWhoseBytesAreKnown) {
  const std::string yaml =
      "name: nobody-knows\nmodel_layers: 6\nexperts: 32\ntop_k: 4\nhidden_size: 8\n"
      "expert_intermediate_size: 8\n";
  ASSERT_TRUE(io::write_file_atomically(io::real_files(), at("model.yaml"), yaml, false));
  const auto imported = run_moesaic({"import", kSample, "--model", at("model.yaml"), "-o", at("own.zarr")});
  ASSERT_EQ(imported.exit_code, 0) << imported.err;
  const auto planned =
      run_moesaic({"plan", at("own.zarr"), "--nodes", "2", "--gpus-per-node", "2", "-o", at("own.json")});
  ASSERT_EQ(planned.exit_code, 0) << planned.err;
  const auto unknown = run_moesaic({"evaluate", at("own.json"), at("own.zarr"), "--time"});
  EXPECT_EQ(unknown.exit_code, 2);
  EXPECT_NE(unknown.err.find("\"nobody-knows\""), std::string::npos) << unknown.err;
  const auto named =
      run_moesaic({"evaluate", at("own.json"), at("own.zarr"), "--time", "--model", "moesaic-mini"});
  EXPECT_EQ(named.exit_code, 0) << named.err;

  trace::CountStore counts{
      .shape = {.model = "moesaic-mini", .model_layers = 1, .layers = {LayerId(0)}, .experts = 4, .top_k = 1},
      .unit = trace::CountUnit::kTokens,
      .requests = {},
      .rows = {trace::CountRow{}},
      .counts = {4, 3, 2, 1},
      .provenance = {}};
  counts.requests.domains = {""};
  ASSERT_TRUE(trace::write_count_store(io::real_files(), at("counts.zarr"), counts, {}));
  const auto by_load = run_moesaic({"plan", at("counts.zarr"), "--nodes", "2", "--gpus-per-node", "1",
                                    "--algorithm", "eplb", "-o", at("counts.json")});
  ASSERT_EQ(by_load.exit_code, 0) << by_load.err;
  const auto untimed = run_moesaic({"evaluate", at("counts.json"), at("counts.zarr"), "--time"});
  EXPECT_EQ(untimed.exit_code, 2);
  EXPECT_NE(untimed.err.find("give a per-token trace"), std::string::npos) << untimed.err;
  const auto unswept =
      run_moesaic({"plan", at("counts.zarr"), "--nodes", "2", "--gpus-per-node", "1", "--sweep"});
  EXPECT_EQ(unswept.exit_code, 2);
  EXPECT_NE(unswept.err.find("give a per-token trace"), std::string::npos) << unswept.err;
}

TEST_F(MainJob, ASweepShowsWhatReplicasBuyAndEachPointIsThePlanOfThatSize) {
  const std::vector<std::string> on = {"plan", store(), "--nodes", "2", "--gpus-per-node", "2"};
  const auto sweep = [&](std::vector<std::string> more) {
    std::vector<std::string> arguments = on;
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_moesaic(arguments);
  };
  const auto swept = sweep({"--sweep", "--sweep-slots", "8,0", "--sweep-imbalance", "1.05,1.5", "--time",
                            "--batch", "16", "--json", at("sweep.json")});
  ASSERT_EQ(swept.exit_code, 0) << swept.err;
  EXPECT_NE(swept.out.find("saved/GiB"), std::string::npos) << swept.out;
  const auto json = io::read_json(io::real_files(), at("sweep.json"));
  ASSERT_TRUE(json) << json.error().message;
  const Json::Array& points = *json->find("points")->as_array();
  ASSERT_EQ(points.size(), 4u);  // by slots, then by limit
  constexpr double kExpertBytes = 3 * 128 * 128 * 2, kLayers = 6;
  for (std::size_t p = 0; p < 4; ++p) {
    EXPECT_DOUBLE_EQ(number(points[p], {"extra_slots"}), p < 2 ? 0 : 8);
    EXPECT_DOUBLE_EQ(number(points[p], {"max_imbalance"}), p % 2 == 0 ? 1.05 : 1.5);
    EXPECT_DOUBLE_EQ(number(points[p], {"replica_gib"}), p < 2 ? 0 : 8 * kLayers * kExpertBytes / 0x1p30);
    EXPECT_GT(number(points[p], {"dedup_step_ms"}), 0);
  }
  const auto bytes_a_token = [&](std::size_t p) {
    return number(points[p], {"dedup", "inter_node_bytes_per_token"});
  };
  EXPECT_LT(bytes_a_token(2), bytes_a_token(0));
  EXPECT_DOUBLE_EQ(number(points[2], {"inter_node_bytes_per_token_saved_per_gib"}),
                   (bytes_a_token(0) - bytes_a_token(2)) / (8 * kLayers * kExpertBytes / 0x1p30));

  const auto planned = run_moesaic(plan(
      at("same.json"), {"--extra-slots", "8", "--max-imbalance", "1.5", "--json", at("same-score.json")}));
  ASSERT_EQ(planned.exit_code, 0) << planned.err;
  const auto same = io::read_json(io::real_files(), at("same-score.json"));
  ASSERT_TRUE(same) << same.error().message;
  for (const char* figure : {"node_max_over_mean", "gpu_max_over_mean", "jain_gpu"}) {
    EXPECT_EQ(number(points[3], {figure}), number(*same, {figure})) << figure;
  }
  EXPECT_EQ(bytes_a_token(3), number(*same, {"dedup", "inter_node_bytes_per_token"}));

  // 6 layers x 64 slots of 252 MB on a GPU: 97 GB.
  const auto large = sweep({"--sweep", "--sweep-slots", "0,224", "--sweep-imbalance", "2", "--time",
                            "--batch", "16", "--model", "llama-4-maverick", "-a", "eplb"});
  EXPECT_NE(large.out.find("note: 64 slots a GPU do not fit: 90.0 GiB of expert weights, h100 has 74.5 GiB"),
            std::string::npos)
      << large.out;
  EXPECT_EQ(large.out.find("note: 8 slots"), std::string::npos) << large.out;

  const auto wrong = [&](std::vector<std::string> more, const std::string& said) {
    const auto result = sweep(std::move(more));
    EXPECT_EQ(result.exit_code, 2);
    EXPECT_NE(result.err.find(said), std::string::npos) << result.err;
  };
  wrong({"--sweep", "--sweep-slots", "9"}, "use --sweep-slots 8 or --sweep-slots 12");
  wrong({"--sweep", "--extra-slots", "8"}, "give --sweep-slots and --sweep-imbalance instead");
  wrong({"--sweep", "-o", at("never.json")}, "writes no plan");
  wrong({"--sweep", "--sweep-imbalance", "0.9"}, "--sweep-imbalance");
  wrong({"--sweep", "--sweep-slots", "0", "--sweep-imbalance", "2", "--time", "--batch", "900000"},
        "give --batch at most that");
  wrong({"--time", "-o", at("never.json")}, "goes with --sweep");
  wrong({}, "--output is required");
  EXPECT_FALSE(std::filesystem::exists(at("never.json")));
}

}  // namespace
}  // namespace moesaic
