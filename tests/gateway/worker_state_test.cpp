#include "gateway/worker_state.hpp"

#include "gateway/api_keys.hpp"
#include "gateway/config.hpp"
#include "gateway/engine_load.hpp"
#include "gateway/signature_cache.hpp"
#include "io/memory_files.hpp"
#include "support/paths.hpp"

namespace moesaic::gateway {
namespace {

using namespace std::chrono_literals;

TEST(WorkerState, TheFirstCheckDecidesAtOnce) {
  WorkerState state;
  EXPECT_EQ(state.is(0ns), WorkerState::Is::kStarting);
  state.health_check(true, {});
  EXPECT_TRUE(state.routable(0ns));
  WorkerState ill;
  ill.health_check(false, {});
  EXPECT_EQ(ill.is(0ns), WorkerState::Is::kDown);
}

TEST(WorkerState, ChecksInARowTakeAWorkerOutAndBringItBack) {
  const HealthOptions options{.fail_after = 2, .recover_after = 2};
  WorkerState state;
  state.health_check(true, options);
  state.health_check(false, options);
  EXPECT_TRUE(state.routable(0ns));
  state.health_check(true, options);
  state.health_check(false, options);
  EXPECT_TRUE(state.routable(0ns));
  state.health_check(false, options);
  EXPECT_EQ(state.is(0ns), WorkerState::Is::kDown);
  state.health_check(true, options);
  EXPECT_EQ(state.is(0ns), WorkerState::Is::kDown);
  state.health_check(true, options);
  EXPECT_TRUE(state.routable(0ns));
}

TEST(WorkerState, FailuresInARowEjectForLongerEachTime) {
  const HealthOptions options{.eject_after = 3, .eject_for = 10s};
  WorkerState state;
  state.health_check(true, options);
  EXPECT_FALSE(state.failed(0s, options, true));
  EXPECT_FALSE(state.failed(0s, options, true));
  state.succeeded();
  EXPECT_FALSE(state.failed(0s, options, true));
  EXPECT_FALSE(state.failed(0s, options, true));
  EXPECT_TRUE(state.failed(0s, options, true));
  EXPECT_EQ(state.is(9s), WorkerState::Is::kEjected);
  EXPECT_EQ(state.is(10s), WorkerState::Is::kUp);
  for (int i = 0; i < 3; ++i) state.failed(10s, options, true);
  EXPECT_EQ(state.is(29s), WorkerState::Is::kEjected);
  EXPECT_EQ(state.is(30s), WorkerState::Is::kUp);
}

TEST(WorkerState, AnUnreachableWorkerIsDownUntilACheckAndADrainingOneUntilTold) {
  WorkerState state;
  state.health_check(true, {});
  state.unreachable();
  EXPECT_EQ(state.is(0ns), WorkerState::Is::kDown);
  state.health_check(true, {});
  EXPECT_TRUE(state.routable(0ns));
  state.drain(true);
  EXPECT_EQ(state.is(0ns), WorkerState::Is::kDraining);
  state.drain(false);
  EXPECT_TRUE(state.routable(0ns));
}

TEST(EngineLoad, ReadsEveryEngineAndSumsRanks) {
  const auto vllm = read_engine_load(
      "# HELP x\n# TYPE vllm:num_requests_running gauge\n"
      "vllm:num_requests_running{engine=\"0\",model_name=\"a b} {\"} 3.0\n"
      "vllm:num_requests_running{engine=\"1\"} 4\nvllm:num_requests_waiting{} 2\n"
      "vllm:kv_cache_usage_perc{engine=\"0\"} 0.5\nvllm:kv_cache_usage_perc{engine=\"1\"} 1.0\n");
  ASSERT_TRUE(vllm);
  EXPECT_EQ(vllm->running, 7u);
  EXPECT_EQ(vllm->waiting, 2u);
  EXPECT_EQ(vllm->kv_usage, 0.75);
  EXPECT_EQ(read_engine_load("sglang:num_running_reqs{} 5\nsglang:num_queue_reqs 1\n")->running, 5u);
  EXPECT_EQ(read_engine_load("trtllm_num_requests_running 6")->running, 6u);
}

TEST(EngineLoad, NonsenseIsNoLoad) {
  EXPECT_FALSE(read_engine_load(""));
  EXPECT_FALSE(read_engine_load("<html>"));
  EXPECT_FALSE(read_engine_load("vllm:num_requests_running{ 3"));
  EXPECT_FALSE(read_engine_load("vllm:num_requests_running NaN\n"));
  EXPECT_FALSE(read_engine_load("vllm:num_requests_running -1\n"));
  EXPECT_FALSE(read_engine_load("vllm:num_requests_running 1e300\n"));
  EXPECT_FALSE(read_engine_load("vllm:num_requests_running{}"));
}

TEST(ApiKeys, OnlyWholeKeysAreAllowed) {
  io::MemoryFiles files;
  ASSERT_TRUE(
      io::write_file_atomically(files, "keys", "# ours\n0123456789abcdef\r\n\nfedcba9876543210\n", false));
  const auto keys = ApiKeys::read(files, "keys");
  ASSERT_TRUE(keys) << keys.error().message;
  const auto allow = [&](std::string header) { return keys->allow(&header); };
  EXPECT_TRUE(allow("Bearer 0123456789abcdef"));
  EXPECT_TRUE(allow("Bearer fedcba9876543210"));
  for (const char* wrong : {"Bearer 0123456789abcde", "Bearer 0123456789abcdef0", "Bearer ",
                            "0123456789abcdef", "", "bearer 0123456789abcdef", "Bearer # ours"}) {
    EXPECT_FALSE(allow(wrong)) << wrong;
  }
  EXPECT_FALSE(keys->allow(nullptr));
  EXPECT_TRUE(ApiKeys().allow(nullptr));
  ASSERT_TRUE(io::write_file_atomically(files, "short", "tooshort\n", false));
  ASSERT_TRUE(io::write_file_atomically(files, "none", "# nothing\n", false));
  EXPECT_FALSE(ApiKeys::read(files, "short"));
  EXPECT_FALSE(ApiKeys::read(files, "none"));
  EXPECT_FALSE(ApiKeys::read(files, "absent"));
}

TEST(SignatureCache, AnEqualPromptAndASharedBeginningAreFound) {
  SignatureCache cache(64, 16);
  const auto usage = std::make_shared<const Usage>(Usage{{1, 2}, 3});
  const std::string prompt = "a prompt of more than two blocks of text";
  EXPECT_FALSE(cache.find(prompt));
  cache.insert(prompt, usage);
  EXPECT_EQ(cache.find(prompt), usage);
  const auto longer = std::make_shared<const Usage>(Usage{{3, 4}, 5});
  const std::string other = prompt + " and more";
  cache.insert(other, longer);
  EXPECT_EQ(cache.find(other), longer);
  EXPECT_EQ(cache.find("a prompt of more than two blocks something else entirely"), longer) << "the latest";
  EXPECT_FALSE(cache.find("another prompt of more than two blocks"));
}

TEST(SignatureCache, ItIsBoundedAndForgetsTheLeastUsed) {
  SignatureCache cache(10, 16);
  const auto usage = std::make_shared<const Usage>();
  for (int i = 0; i < 100; ++i) {
    cache.insert("prompt " + std::to_string(i), usage);
    EXPECT_TRUE(cache.find("prompt 0"));
  }
  EXPECT_EQ(cache.size(), 10u);
  EXPECT_FALSE(cache.find("prompt 50"));
  SignatureCache off(0, 16);
  off.insert("a", usage);
  EXPECT_FALSE(off.find("a"));
}

TEST(Config, TheSmallestFileAndItsErrors) {
  const auto config = read_config("workers: [{name: a, url: 'http://127.0.0.1:8100'}]", "g.yaml");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->workers[0].port, 8100);
  EXPECT_EQ(config->decode_policy, "jsq");
  const auto error = [](std::string_view yaml) {
    const auto read = read_config(yaml, "g.yaml");
    EXPECT_FALSE(read) << yaml;
    return read ? std::string() : read.error().message;
  };
  EXPECT_NE(error("workers: []\nworkerz: 1").find("unknown key \"workerz\""), std::string::npos);
  EXPECT_NE(error("listen: {port: 1}").find("workers"), std::string::npos);
  EXPECT_NE(error("workers: {decode: jsq}").find("workers is a mapping, expected a list"), std::string::npos);
  EXPECT_TRUE(read_config("workers: []", "g.yaml"));  // they may come by POST /admin/workers
  EXPECT_NE(error("workers:\n- {name: a, url: 'http://x:1', tls: {name: y}}").find("https"),
            std::string::npos);
  EXPECT_NE(error("workers:\n- {name: a, url: 'https://x:1', tls: {ca_file: c, verify: false}}")
                .find("one of them"),
            std::string::npos);
  EXPECT_NE(error("workers:\n- {name: a, url: 'https://x:1', tls: {sni: y}}").find("unknown key"),
            std::string::npos);
  EXPECT_NE(error("workers:\n- {name: a, url: 'ftp://x'}").find("http://HOST:PORT"), std::string::npos);
  EXPECT_NE(error("workers:\n- {name: a, url: 'http://a:1', role: decode}").find("protocol"),
            std::string::npos);
  EXPECT_NE(error("protocol: nixl\nworkers:\n- {name: a, url: 'http://a:1'}").find("role plain"),
            std::string::npos);
  EXPECT_NE(
      error("protocol: mooncake\nworkers:\n- {name: a, url: 'http://a:1', role: prefill}").find("engine_id"),
      std::string::npos);
  EXPECT_NE(error("workers:\n- {name: a, url: 'http://a:1'}\n- {name: a, url: 'http://a:2'}").find("twice"),
            std::string::npos);
  EXPECT_NE(error("workers: []\nadmin: {address: 0.0.0.0}").find("keys_file"), std::string::npos);
  EXPECT_NE(error("workers: []\nlisten: {certificate: a}").find("together"), std::string::npos);
  // Keys that would do nothing where they stand: who writes them believes the gateway is guarded.
  EXPECT_NE(error("workers: []\nlisten: {keys_file: k}").find("keys_file"), std::string::npos);
  EXPECT_NE(error("workers: []\nadmin: {certificate: c, key: k}").find("certificate"), std::string::npos);
  EXPECT_NE(error("workers: []\npolicy: {step: {from: measured}}").find("trace"), std::string::npos);
  EXPECT_NE(error("protocol: nixl\nworkers:\n- {name: a, url: 'http://a:1', role: prefill, ranks: 2}")
                .find("ranks"),
            std::string::npos);
  EXPECT_NE(error("workers: []\ndeadlines: {total: 5}").find("line 2"), std::string::npos);
}

TEST(Config, TheSamplesAreRead) {
  for (const std::string name : {"plain", "groups", "vllm-nixl", "sglang"}) {
    const std::string path = moesaic::testing::source_path("samples/gateway/") + name + ".yaml";
    const auto yaml = io::read_file(io::real_files(), path, 1 << 16);
    ASSERT_TRUE(yaml) << path;
    const auto config = read_config(*yaml, path);
    EXPECT_TRUE(config) << config.error().message;
  }
}

TEST(Config, UrlsOfHostsPortsAndNothingElse) {
  std::string host;
  std::uint16_t port = 0;
  bool tls = true;
  EXPECT_TRUE(parse_url("http://[::1]:80/", host, port, tls));
  EXPECT_EQ(host, "::1");
  EXPECT_FALSE(tls);
  EXPECT_TRUE(parse_url("https://engine.example:443", host, port, tls));
  EXPECT_EQ(host, "engine.example");
  EXPECT_TRUE(tls);
  for (const char* url : {"http://a", "http://a:0", "http://a:70000", "ftp://a:1", "https://a", "http://:1",
                          "http://u@a:1", "http://a:1/path", "http://a:1x"}) {
    EXPECT_FALSE(parse_url(url, host, port, tls)) << url;
  }
}

}  // namespace
}  // namespace moesaic::gateway
