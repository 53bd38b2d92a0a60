#include "simulate/cluster_file.hpp"

#include "support/paths.hpp"
#include "support/shared_data.hpp"
#include "support/temporary_folder.hpp"

namespace moesaic::simulate {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view kWhole = R"(trace: t.zarr
model: gpt-oss-20b
predict_from: "fraction:0.5,max:48"
prefill: {workers: 3, fixed: 2ms, per_token_ns: 1.5, policy: prefix-hash, cache_blocks: 9}
transfer: {latency: 1ms, per_token_ns: 7}
decode:
  workers: 4
  max_running: 5
  kv_tokens: 600
  step: {from: measured, fixed: 1ms, per_expert_ns: 20}
arrivals: {kind: bursts, burst_factor: 3, burst_length: 1s, burst_period: 4s}
mix: {kind: skewed, share: 0.7, domain: math}
warm_up: 3s
measure: 9s
eldr: {tau: 0.2, refit_every: 1s, window: 6s, balanced: false}
sweep:
  policies: [jsq, marginal]
  loads: [0.5, 1]
  seeds: 4
  first_seed: 100
)";

std::string write(const testing::TemporaryFolder& folder, const std::string& name, std::string_view text) {
  const std::string path = folder / name;
  EXPECT_TRUE(io::write_file_atomically(io::real_files(), path, text, true));
  return path;
}

/// kWhole with the first `from` replaced.
std::string with(std::string_view from, std::string_view to) {
  std::string text(kWhole);
  const std::size_t at = text.find(from);
  EXPECT_NE(at, text.npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(ClusterFile, ReadsEveryBlock) {
  const testing::TemporaryFolder folder;
  const auto file = read_cluster_file(io::real_files(), write(folder, "c.yaml", kWhole));
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->trace, folder / "t.zarr");
  EXPECT_EQ(to_string(file->predict_from), "fraction:0.5,max:48");
  EXPECT_EQ(file->predict_folds, 0u);
  EXPECT_FALSE(file->cluster.decode.tells_experts);
  const Cluster& cluster = file->cluster;
  EXPECT_EQ(cluster.prefill.workers, 3u);
  EXPECT_EQ(cluster.prefill.per_token, cost::Picoseconds(1500));
  EXPECT_EQ(cluster.prefill.policy, "prefix-hash");
  EXPECT_EQ(cluster.prefill.cache_blocks, 9u);
  EXPECT_EQ(cluster.transfer.latency, 1ms);
  EXPECT_EQ(cluster.decode.workers, 4u);
  EXPECT_EQ(cluster.decode.max_running, 5u);
  EXPECT_EQ(cluster.decode.kv_capacity, 600);
  EXPECT_EQ(cluster.decode.step.fixed, 1ms);
  EXPECT_EQ(cluster.arrivals.kind, ArrivalOptions::Kind::kBursts);
  EXPECT_EQ(cluster.arrivals.burst_factor, 3);
  EXPECT_EQ(cluster.mix.kind, Mix::Kind::kSkewed);
  EXPECT_EQ(cluster.mix.domain, "math");
  EXPECT_EQ(cluster.warm_up, 3s);
  EXPECT_EQ(cluster.measure, 9s);
  EXPECT_EQ(cluster.policies.eldr.tau, 0.2);
  EXPECT_EQ(cluster.policies.eldr.refit_every, 1s);
  EXPECT_FALSE(file->eldr_balanced);
  EXPECT_EQ(file->unit, LoadUnit::kLoads);
  EXPECT_EQ(file->loads, (std::vector<double>{0.5, 1}));
  EXPECT_EQ(file->policies, (std::vector<std::string>{"jsq", "marginal"}));
  EXPECT_EQ(file->seeds, 4u);
  EXPECT_EQ(file->first_seed, 100u);
}

TEST(ClusterFile, ReadsHowRequestsJoinAndWhichDecodersComeAndGo) {
  const testing::TemporaryFolder folder;
  const auto file = read_cluster_file(
      io::real_files(), write(folder, "c.yaml",
                              with("kv_tokens: 600\n",
                                   "kv_tokens: 600\n  admission: {kind: micro-batch, pool: 9, max_late: 7}\n"
                                   "  tells_experts: true\n"
                                   "  events: [{at: 2s, down: 3}, {at: 3s, up: 4}]\n")));
  ASSERT_TRUE(file) << file.error().message;
  const DecodePool& decode = file->cluster.decode;
  EXPECT_EQ(decode.admission.kind, Admission::Kind::kMicroBatch);
  EXPECT_EQ(decode.admission.pool, 9u);
  EXPECT_TRUE(decode.tells_experts);
  const auto folded = read_cluster_file(
      io::real_files(), write(folder, "c.yaml", with("max:48\"\n", "max:48\"\npredict_folds: 7\n")));
  ASSERT_TRUE(folded) << folded.error().message;
  EXPECT_EQ(folded->predict_folds, 7u);
  EXPECT_EQ(decode.admission.max_late, 7u);
  ASSERT_EQ(decode.events.size(), 2u);
  EXPECT_EQ(decode.events[1].at, 3s);
  EXPECT_EQ(decode.events[1].worker, 4u);
  EXPECT_TRUE(decode.events[1].up);
  EXPECT_EQ(decode.ever(), 5u);
}

TEST(ClusterFile, ErrorsNameTheFileTheLineAndTheKey) {
  const testing::TemporaryFolder folder;
  const auto refused = [&](const std::string& text, std::initializer_list<const char*> parts) {
    const auto file = read_cluster_file(io::real_files(), write(folder, "c.yaml", text));
    ASSERT_FALSE(file) << text;
    EXPECT_EQ(file.error().kind, ErrorKind::kBadInput);
    for (const char* part : parts)
      EXPECT_NE(file.error().message.find(part), std::string::npos) << part << " in " << file.error().message;
  };
  refused(with("max_running", "max_runing"), {"c.yaml, line 8", "max_runing"});
  refused(with("warm_up", "warmup"), {"c.yaml", "warmup"});
  refused(with("workers: 4", "workers: 0"), {"c.yaml, line 7", "workers"});
  refused(with("latency: 1ms", "latency: soon"), {"c.yaml, line 5", "latency"});
  refused(with("kind: bursts", "kind: waves"), {"c.yaml, line 11", "waves"});
  refused(with("burst_period: 4s", "burst_period: 1s"), {"c.yaml, line 11", "burst"});
  refused(with("share: 0.7", "share: 1.7"), {"c.yaml, line 12", "share"});
  refused(with("tau: 0.2", "tua: 0.2"), {"c.yaml, line 15", "tua"});
  refused(with("[jsq, marginal]", "[jsq, jsq]"), {"c.yaml, line 17", "jsq stands twice"});
  refused(with("[jsq, marginal]", "[]"), {"c.yaml, line 17", "neither empty"});
  refused(with("loads: [0.5, 1]", "loads: [0.5]\n  running: [3]"), {"c.yaml, line 19", "second list"});
  refused(with("loads: [0.5, 1]", "loads: [-1]"), {"c.yaml, line 18", "loads"});
  refused(with("gpt-oss-20b", "gpt-oss-21b"), {"gpt-oss-21b"});
  refused(with("max:48", "max:x"), {"predict-from"});
  refused(with("max:48\"\n", "max:48\"\npredict_folds: 1\n"), {"c.yaml", "predict_folds 1 leaves nobody"});
  refused(with("max:48\"\n", "max:48\"\npredict_folds: 101\n"), {"c.yaml, line 4", "predict_folds"});
  refused(with("kv_tokens: 600", "plan: none.json"), {"none.json"});
  refused(with("trace: t.zarr\n", ""), {"trace"});
  refused(with("trace: t.zarr\n", "trace: t.zarr\nrouter: none.json\n"), {"none.json"});
  refused(with("kv_tokens: 600", "admission: {kind: fifo, pool: 3}"),
          {"pool does nothing where kind is fifo"});
  refused(with("kv_tokens: 600", "admission: {kind: luck}"), {"c.yaml, line 9", "luck"});
  refused(with("kv_tokens: 600", "events: [{at: 1s}]"), {"c.yaml, line 9", "one of up and down"});
  refused(with("kv_tokens: 600", "events: [{at: 1s, up: 1, down: 1}]"), {"one of up and down"});
  refused(with("kv_tokens: 600", "events: [{at: 1s, up: 3}]"), {"c.yaml, line 9", "worker 3 is up already"});
  refused("sweep: [", {"c.yaml"});
  // Keys of another kind, which would do nothing.
  refused(with("kind: bursts", "kind: poisson"), {"c.yaml, line 11", "burst_factor does nothing", "poisson"});
  refused(with("kind: bursts,", "kind: bursts, lengths_from_file: true,"),
          {"lengths_from_file does nothing"});
  refused(with("kind: skewed", "kind: mixed"), {"share does nothing where kind is mixed"});
  refused(with("kind: skewed", "kind: shifting"), {"domain does nothing"});
  refused(with("domain: math", "period: 1s"), {"period does nothing where kind is skewed"});
  EXPECT_FALSE(read_cluster_file(io::real_files(), folder / "absent.yaml"));
}

TEST(ClusterFile, AModelWithoutAPresetComesFromAFileBesideIt) {
  const testing::TemporaryFolder folder;
  // An expert of 3 x 1000 x 1000 bf16 numbers: 6 MB at 80 % of 3.35 TB/s.
  write(folder, "m.yaml",
        "name: square\nmodel_layers: 1\nexperts: 8\ntop_k: 1\nhidden_size: 1000\n"
        "expert_intermediate_size: 1000\n");
  std::string text = with("model: gpt-oss-20b", "model: m.yaml");
  const std::string_view measured = "{from: measured, fixed: 1ms, per_expert_ns: 20}";
  text.replace(text.find(measured), measured.size(), "{from: roofline, hardware: h100}");
  const auto file = read_cluster_file(io::real_files(), write(folder, "c.yaml", text));
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_NEAR(static_cast<double>(file->cluster.decode.step.per_expert.count()), 6e18 / (0.8 * 3.35e12), 2.0);
  const auto missing =
      read_cluster_file(io::real_files(), write(folder, "d.yaml", with("gpt-oss-20b", "none.yml")));
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().message.find(folder / "none.yml"), std::string::npos) << missing.error().message;
}

TEST(ClusterFile, ArrivalsComeFromAFileBesideIt) {
  const testing::TemporaryFolder folder;
  write(folder, "azure.csv",
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n"
        "2023-11-16 18:15:47.6805900,396,109\n");
  write(folder, "moon.jsonl",
        "{\"timestamp\": 0, \"input_length\": 600, \"output_length\": 5, \"hash_ids\": [1, 2]}\n");
  const std::string line = "arrivals: {kind: bursts, burst_factor: 3, burst_length: 1s, burst_period: 4s}";
  for (const auto& [name, requests] : {std::pair{"azure.csv", 2u}, std::pair{"moon.jsonl", 1u}}) {
    const std::string text =
        with(line, std::string("arrivals: {kind: file, lengths_from_file: true, file: ") + name + "}");
    const auto file = read_cluster_file(io::real_files(), write(folder, "c.yaml", text));
    ASSERT_TRUE(file) << file.error().message;
    EXPECT_EQ(file->cluster.arrivals.kind, ArrivalOptions::Kind::kFile);
    EXPECT_TRUE(file->cluster.arrivals.lengths_from_trace);
    EXPECT_EQ(file->cluster.arrivals.trace->size(), requests);
  }
  write(folder, "azure.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\nnever,1,2\n");
  const auto bad = read_cluster_file(
      io::real_files(), write(folder, "c.yaml", with(line, "arrivals: {kind: file, file: azure.csv}")));
  ASSERT_FALSE(bad);
  EXPECT_NE(bad.error().message.find("azure.csv, line 2"), std::string::npos) << bad.error().message;
}

TEST(ClusterFile, TheSamplesAreValid) {
  for (const char* name : {"gpt-oss-8p8d", "gpt-oss-loads", "llama-4-4d", "moesaic-mini-4d"}) {
    const auto file = read_cluster_file(io::real_files(),
                                        moesaic::testing::source_path("samples/clusters/") + name + ".yaml");
    EXPECT_TRUE(file) << file.error().message;
  }
}

TEST(ClusterFile, TheSamplesOfRecordedServicesAreValid) {
  MOESAIC_NEEDS_SHARED("serving/AzureLLMInferenceTrace_conv.csv.xz");
  MOESAIC_NEEDS_SHARED("serving/conversation_trace.jsonl.xz");
  const testing::TemporaryFolder folder;
  for (const char* name : {"gpt-oss-azure", "gpt-oss-mooncake"}) {
    auto text =
        io::read_file(io::real_files(), testing::source_path("samples/clusters/") + name + ".yaml", 1 << 16);
    ASSERT_TRUE(text) << text.error().message;
    const std::size_t at = text->find(", file: ") + 8;
    text->insert(at, testing::shared_data("serving/"));
    const auto file = read_cluster_file(io::real_files(), write(folder, "c.yaml", *text));
    ASSERT_TRUE(file) << file.error().message;
    EXPECT_GT(file->cluster.arrivals.trace->size(), 10'000u);
  }
}

}  // namespace
}  // namespace moesaic::simulate
