// A shadow engine, recording into trace stores and refits, on real sockets: what they feed, and that nothing
// that happens to them reaches a client.
#include "gateway/learning.hpp"

#include "gateway/cluster.hpp"
#include "io/faulty_files.hpp"
#include "simulate/learning.hpp"
#include "support/certificates.hpp"
#include "support/imported.hpp"
#include "support/paths.hpp"
#include "support/temporary_folder.hpp"
#include "trace/inspect.hpp"

namespace moesaic::gateway {
namespace {

using namespace std::chrono_literals;
using emulator::Fault;
using net::Task;
using testing::Cluster;
using testing::ClusterOptions;
using testing::Got;
using testing::TemporaryFolder;
using Form = emulator::WorkerConfig::RoutedExperts;

/// The sample's requests, read once.
const simulate::Recording& mini() {
  static const simulate::Recording recording = [] {
    const testing::Imported imported({testing::source_path("samples/moesaic-mini")});
    EXPECT_TRUE(imported) << imported.error();
    ThreadPool pool;
    auto read = simulate::read_part(imported.trace(), {}, RequestSet::kAll, pool);
    EXPECT_TRUE(read) << (read ? "" : read.error().message);
    return std::move(*read);
  }();
  return recording;
}

/// Two plain engines that return no experts, and a shadow that does.
ClusterOptions shadowed(Form form, std::function<void(Config&)> configure = {}) {
  ClusterOptions options;
  options.recording = &mini();
  options.shadow = emulator::WorkerConfig{};
  options.shadow->engine_id = "shadow";
  options.shadow->obey_faults = true;
  options.shadow->routed_experts = form;
  options.policies.usage = {mini().shape.layers.size(), mini().shape.experts, mini().shape.top_k};
  options.policies.shape = mini().shape;
  options.configure = [form, configure](Config& config) {
    config.shadow.engine = form == Form::kSglang ? ShadowEngine::kSglang : ShadowEngine::kVllm;
    config.shadow.rate = 1;
    config.shadow.retry_after = 1h;
    if (configure) configure(config);
  };
  return options;
}

std::string ask(std::size_t recorded, std::uint32_t tokens = 6, bool stream = true) {
  return R"({"prompt":"trace:)" + std::to_string(recorded) + R"( and more","max_tokens":)" +
         std::to_string(tokens) + (stream ? R"(,"stream":true})" : "}");
}

std::uint64_t number(const Json& json, std::string_view part, std::string_view key) {
  std::uint64_t value = 0;
  const Json* inner = json.find(part);
  if (inner != nullptr && inner->find(key) != nullptr) static_cast<void>(inner->find(key)->to_uint(value));
  return value;
}

/// Waits until that many answers with experts were read.
Task<void> known(Cluster& cluster, std::uint64_t count) {
  const Nanoseconds limit = cluster.loop().now() + 60s;
  std::uint64_t seen = 0;
  while (seen < count && cluster.loop().now() < limit) {
    const Json json = co_await cluster.learning();
    seen = number(json, "answers", "known");
    co_await cluster.loop().sleep(1ms);
  }
  EXPECT_EQ(seen, count);
}

TEST(Shadow, ItsAnswersFeedThePrefixCacheAndTheClientSeesNothingOfIt) {
  for (const Form form : {Form::kVllm, Form::kSglang}) {
    Cluster cluster(shadowed(form));
    cluster.run([&]() -> Task<void> {
      const Got got = co_await cluster.complete(ask(5));
      EXPECT_EQ(testing::stream_text(got.body), testing::expected_text("trace:5 and more", 6)) << got.body;
      EXPECT_FALSE(got.has("experts"));
      co_await known(cluster, 1);
      co_await cluster.complete(ask(5));
      const Got told = co_await cluster.admin("GET", "/admin/decisions?limit=1");
      EXPECT_TRUE(told.has(R"("usage":"prefix_cache")")) << told.body;
      co_await known(cluster, 2);
      EXPECT_EQ(cluster.worker(0).stats().requests + cluster.worker(1).stats().requests, 2u);
      EXPECT_EQ(cluster.shadow().stats().finished, 2u);
      EXPECT_EQ(number(co_await cluster.learning(), "answers", "observed"), 0u)
          << "a shadow's decode is nobody's";
      co_await cluster.expect_quiet();
    });
  }
}

TEST(Shadow, OverTlsItGetsCopiesWhenItIsTrustedAndNoTextWhenNot) {
  const TemporaryFolder folder;
  const auto own = testing::make_certificate(folder.path(), "own", "DNS:shadow.test");
  const auto other = testing::make_certificate(folder.path(), "other", "DNS:shadow.test");
  for (const bool trusted : {true, false}) {
    ClusterOptions options = shadowed(Form::kVllm, [&](Config& config) {
      config.shadow.tls = EngineTls{.ca_file = trusted ? own.file : other.file, .name = "shadow.test"};
    });
    options.shadow->certificate = own.file;
    options.shadow->key = own.key;
    Cluster cluster(std::move(options));
    cluster.run([&]() -> Task<void> {
      EXPECT_EQ((co_await cluster.complete(ask(5))).status, 200);
      if (trusted) {
        co_await known(cluster, 1);
      } else {
        const Nanoseconds limit = cluster.loop().now() + 60s;
        while (number(co_await cluster.learning(), "shadow", "failed") == 0 && cluster.loop().now() < limit) {
          co_await cluster.loop().sleep(1ms);
        }
        EXPECT_EQ(number(co_await cluster.learning(), "shadow", "failed"), 1u);
      }
      EXPECT_EQ(cluster.shadow().stats().requests, trusted ? 1u : 0u);
      co_await cluster.expect_quiet();
    });
  }
}

TEST(Shadow, OnlyTheShareThatWasAskedForIsCopied) {
  Cluster cluster(shadowed(Form::kVllm, [](Config& config) { config.shadow.rate = 0; }));
  cluster.run([&]() -> Task<void> {
    for (int i = 0; i < 5; ++i) co_await cluster.complete(ask(1));
    EXPECT_EQ(cluster.shadow().stats().requests, 0u);
  });
  net::Loop loop;
  Shadow quarter(loop, {.host = "127.0.0.1", .port = 9, .rate = 0.25}, std::nullopt, 7, {});
  int chosen = 0;
  for (int i = 0; i < 4000; ++i) chosen += quarter.chooses_next() ? 1 : 0;
  EXPECT_NEAR(chosen, 1000, 120);
}

TEST(Shadow, OneThatIsDeadHangsOrAnswersGarbageChangesNothing) {
  for (const char* how : {"dead", "hang", "garbage", "garbage-body", "error", "reset"}) {
    Cluster cluster(shadowed(Form::kVllm, [](Config& config) {
      config.shadow.timeout = 200ms;
      config.shadow.queue = 3;
    }));
    cluster.run([&]() -> Task<void> {
      if (std::string_view(how) == "dead") {
        cluster.shadow().kill();
      } else {
        cluster.shadow().set_fault(*emulator::fault_of(how), 1000);
      }
      for (std::size_t i = 0; i < 12; ++i) {
        const Got got = co_await cluster.complete(ask(i));
        EXPECT_EQ(got.status, 200) << how << got.body;
        EXPECT_TRUE(got.body.ends_with("[DONE]\n\n")) << how;
      }
      EXPECT_EQ(cluster.outcome(Outcome::kFinished), 12u) << how;
      const Nanoseconds limit = cluster.loop().now() + 60s;
      Json json = co_await cluster.learning();
      while (number(json, "shadow", "in_flight") + number(json, "shadow", "waiting") > 0 &&
             cluster.loop().now() < limit) {
        co_await cluster.loop().sleep(5ms);
        json = co_await cluster.learning();
      }
      EXPECT_EQ(number(json, "answers", "known"), 0u) << how;
      const std::uint64_t copied = number(json, "shadow", "copied"),
                          dropped = number(json, "shadow", "dropped");
      if (std::string_view(how) == "garbage-body") {
        EXPECT_EQ(number(json, "shadow", "answered"), copied) << "it is HTTP, but holds no experts";
      } else {
        EXPECT_GE(number(json, "shadow", "failed"), 1u) << how;
        EXPECT_GE(dropped, 1u) << how << ": what a resting engine is not sent";
      }
      co_await cluster.expect_quiet();
    });
  }
}

TEST(Record, WhatBecomesKnownIsAStoreThatVerifiesAndHoldsNoText) {
  const TemporaryFolder folder;
  for (const Form form : {Form::kVllm, Form::kSglang}) {
    const std::string path = folder / (form == Form::kVllm ? "vllm" : "sglang");
    Cluster cluster(shadowed(form, [&](Config& config) { config.record.folder = path; }));
    cluster.run([&]() -> Task<void> {
      for (std::size_t i = 0; i < 8; ++i) {
        std::vector<net::Header> headers;
        headers.push_back({"X-Request-Id", "r" + std::to_string(i)});
        co_await cluster.complete(ask(i, 5), headers);
      }
      co_await known(cluster, 8);
    });
    cluster.stop_gateway();
    const auto names = io::real_files().list(path);
    ASSERT_TRUE(names && names->size() == 1) << "one store, nothing half written";
    const auto trace = trace::Trace::open(io::real_files(), io::join_path(path, names->front()));
    ASSERT_TRUE(trace) << trace.error().message;
    const auto verified = trace::verify(io::real_files(), *trace);
    ASSERT_TRUE(verified) << verified.error().message;
    EXPECT_EQ(verified->missing, 0u);
    ASSERT_EQ(trace->requests().size(), 8u);
    const std::size_t k = trace->shape().top_k, experts = trace->shape().experts;
    for (std::size_t i = 0; i < 8; ++i) {
      const std::string& id = trace->requests().id[i];  // the shadow runs two at once: any order
      ASSERT_EQ(id.size(), 2u);
      const auto request = static_cast<std::size_t>(id[1] - '0');
      EXPECT_EQ(trace->requests().prefill_tokens[i], mini().requests[request].counted_tokens) << id;
      EXPECT_EQ(trace->requests().decode_tokens[i], 4u) << "the last of 5 tokens is never forwarded";
      for (std::size_t layer = 0; layer < trace->shape().layers.size(); ++layer) {
        std::vector<ExpertId> ids(trace->requests().prefill_tokens[i] * k);
        const std::uint64_t start = trace->requests().start[i];
        ASSERT_TRUE(trace->read_layer(layer, start, start + trace->requests().prefill_tokens[i], ids));
        std::vector<float> counts(experts);
        for (const ExpertId expert : ids) counts[index(expert)] += 1;
        const auto expected = mini().counts(request).subspan(layer * experts, experts);
        EXPECT_TRUE(std::ranges::equal(counts, expected)) << id << " layer " << layer;
      }
    }
  }
}

TEST(Record, AnswersThatCarryExpertsThemselvesNeedNoShadow) {
  const TemporaryFolder folder;
  ClusterOptions options = shadowed(Form::kVllm, [&](Config& config) {
    config.record.folder = folder.path();
    config.shadow.host = "";
  });
  options.worker = [](emulator::WorkerConfig& worker) { worker.routed_experts = Form::kVllm; };
  Cluster cluster(std::move(options));
  cluster.run([&]() -> Task<void> {
    const Got got = co_await cluster.complete(ask(3, 5, false));
    EXPECT_TRUE(got.has("routed_experts")) << "the answer is the worker's, untouched";
    co_await known(cluster, 1);
    EXPECT_EQ(number(co_await cluster.learning(), "answers", "observed"), 0u) << "jsq remembers nothing";
    co_await cluster.complete(ask(3, 5, true));
    const Got told = co_await cluster.admin("GET", "/admin/decisions?limit=1");
    EXPECT_TRUE(told.has(R"("usage":"prefix_cache")")) << told.body;
  });
}

TEST(Record, MarginalRemembersWhatAnAnswerSaysOfItsDecode) {
  const TemporaryFolder folder;
  ClusterOptions options = shadowed(Form::kVllm, [&](Config& config) {
    config.record.folder = folder.path();
    config.shadow.host = "";
    config.decode_policy = "marginal";
  });
  options.worker = [](emulator::WorkerConfig& worker) { worker.routed_experts = Form::kVllm; };
  options.policies.decode = [](std::string_view name) {
    routing::DecodePolicyConfig policies;
    policies.marginal.predictor = signature::uniform_predictor(mini().shape);
    return routing::make_decode_policy(name, policies);
  };
  Cluster cluster(std::move(options));
  cluster.run([&]() -> Task<void> {
    co_await cluster.complete(ask(3, 5, true));  // a stream says nothing
    co_await cluster.complete(ask(3, 5, false));
    co_await known(cluster, 1);
    EXPECT_EQ(number(co_await cluster.learning(), "answers", "observed"), 1u);
  });
}

TEST(Record, CountsOfASignatureAreARowOfAStoreOfCounts) {
  const TemporaryFolder folder;
  ClusterOptions options;
  options.handoff = protocol::Handoff::kEldr;
  options.recording = &mini();
  options.worker = [](emulator::WorkerConfig& worker) {
    worker.eldr_signature = worker.role == protocol::Role::kPrefill;
  };
  options.policies.usage = {mini().shape.layers.size(), mini().shape.experts, mini().shape.top_k};
  options.policies.shape = mini().shape;
  options.configure = [&](Config& config) { config.record.folder = folder.path(); };
  Cluster cluster(std::move(options));
  cluster.run([&]() -> Task<void> {
    for (std::size_t i = 0; i < 3; ++i) {
      std::vector<net::Header> headers;
      headers.push_back({"X-Request-Id", "r" + std::to_string(i)});
      co_await cluster.complete(ask(i), headers);
    }
    const Nanoseconds limit = cluster.loop().now() + 60s;
    Json json = co_await cluster.learning();
    while (number(json, "answers", "counted") < 3 && cluster.loop().now() < limit) {
      co_await cluster.loop().sleep(1ms);
      json = co_await cluster.learning();
    }
    EXPECT_EQ(number(json, "answers", "counted"), 3u);
  });
  cluster.stop_gateway();
  const auto names = io::real_files().list(folder.path());
  ASSERT_TRUE(names && names->size() == 1 && names->front().starts_with("counts-"));
  const auto trace = trace::Trace::open(io::real_files(), folder / names->front());
  ASSERT_TRUE(trace) << trace.error().message;
  ASSERT_TRUE(trace::verify(io::real_files(), *trace));
  EXPECT_EQ(trace->requests().id, (std::vector<std::string>{"r0", "r1", "r2"}));
  for (std::size_t i = 0; i < 3; ++i) {
    std::vector<double> counts(mini().counts(i).size());
    ASSERT_TRUE(trace->read_counts(i, counts));
    EXPECT_TRUE(std::ranges::equal(counts, mini().counts(i))) << i;
    EXPECT_EQ(trace->count_rows()[i].tokens, mini().requests[i].counted_tokens);
  }
}

TEST(Record, AFullDiskLosesTheStoreAndNoRequest) {
  const TemporaryFolder folder;
  io::FaultyFiles files(io::real_files(), {.disk_bytes = 200});
  ClusterOptions options = shadowed(Form::kVllm, [&](Config& config) {
    config.record.folder = folder / "stores";
    config.record.store_requests = 2;
  });
  options.files = &files;
  Cluster cluster(std::move(options));
  cluster.run([&]() -> Task<void> {
    for (std::size_t i = 0; i < 6; ++i) {
      const Got got = co_await cluster.complete(ask(i));
      EXPECT_EQ(got.status, 200) << got.body;
      co_await known(cluster, i + 1);
    }
    const Json json = co_await cluster.learning();
    EXPECT_EQ(number(json, "record", "requests"), 0u);
    EXPECT_GE(number(json, "record", "errors"), 1u) << json.dump(1);
    EXPECT_EQ(number(json, "record", "lost"), 6u) << json.dump(1);
    EXPECT_NE(json.find("record")->find("last_error"), nullptr);
    const Got told = co_await cluster.admin("GET", "/metrics");
    EXPECT_TRUE(told.has("moesaic_recorded_lost_total 6")) << told.body;
    co_await cluster.expect_quiet();
  });
  cluster.stop_gateway();
  const auto names = io::real_files().list(folder / "stores");
  ASSERT_TRUE(names);
  for (const std::string& name : *names)
    EXPECT_TRUE(name.ends_with(".partial")) << "no store has its name: " << name;
}

TEST(Refit, RecordedRequestsMakeABetterPredictorWhichThePolicyGets) {
  Cluster cluster(shadowed(Form::kVllm, [](Config& config) {
    config.refit = RefitOptions{.every = 1ms, .min_requests = 60, .max_requests = 60};
  }));
  cluster.run([&]() -> Task<void> {
    for (std::size_t i = 0; i < 60; ++i) {
      co_await cluster.complete(ask(i * 13, 40));
      co_await known(cluster, i + 1);
    }
    const Nanoseconds limit = cluster.loop().now() + 60s;
    Json json;
    do {
      co_await cluster.loop().sleep(5ms);
      json = co_await cluster.learning();
    } while (number(json, "refit", "refits") == 0 && cluster.loop().now() < limit);
    EXPECT_EQ(number(json, "refit", "refits"), 1u);
    EXPECT_EQ(number(json, "refit", "predictors_used"), 1u) << json.dump(1);
    const Json* last = json.find("refit")->find("last");
    EXPECT_NE(last, nullptr);
    if (last == nullptr) co_return;
    std::uint64_t learnt = 0, scored = 0;
    EXPECT_TRUE(last->find("learnt")->to_uint(learnt) && last->find("scored")->to_uint(scored));
    EXPECT_EQ(learnt, 48u);
    EXPECT_EQ(scored, 12u);
  });
}

TEST(Refit, RecordedRequestsGiveEldrItsCentroids) {
  ClusterOptions options = shadowed(Form::kVllm, [](Config& config) {
    config.decode_policy = "eldr";
    config.refit = RefitOptions{.every = 1ms, .min_requests = 20, .max_requests = 20};
  });
  options.policies.decode = [](std::string_view name) {
    routing::DecodePolicyConfig policies;
    policies.eldr.space = signature::all_layers(mini().shape, signature::Transform::kSqrtCount);
    policies.eldr.layer_rows = mini().shape.layers.size();
    policies.eldr.refit_every = 1h;
    policies.eldr.window = 1h;
    return routing::make_decode_policy(name, policies);
  };
  Cluster cluster(std::move(options));
  cluster.run([&]() -> Task<void> {
    for (std::size_t i = 0; i < 20; ++i) {
      co_await cluster.complete(ask(i * 13));
      co_await known(cluster, i + 1);
    }
    const Got before = co_await cluster.admin("GET", "/admin/decisions?limit=1");
    EXPECT_TRUE(before.has(R"("reason":"fallback")")) << before.body;
    const Nanoseconds limit = cluster.loop().now() + 60s;
    while (cluster.gateway().state().placer->refits() == 0 && cluster.loop().now() < limit) {
      co_await cluster.loop().sleep(5ms);
    }
    EXPECT_EQ(number(co_await cluster.learning(), "refit", "centroids"), 1u);
    co_await cluster.complete(ask(0));
    const Got after = co_await cluster.admin("GET", "/admin/decisions?limit=1");
    EXPECT_TRUE(after.has(R"("reason":"signature")")) << after.body;
  });
}

TEST(Learning, WithoutAShapeTheGatewaySaysWhatToGive) {
  net::Loop loop;
  Config config;
  config.listen.port = config.admin.port = 0;
  config.log_file = "none";
  config.record.folder = "/nowhere";
  PolicyMaker policies;
  policies.decode = [](std::string_view name) { return routing::make_decode_policy(name, {}); };
  const auto started = Gateway::start(loop, io::real_files(), config, policies, {});
  ASSERT_FALSE(started);
  EXPECT_NE(started.error().message.find("policy.router"), std::string::npos) << started.error().message;
}

TEST(Learning, KeysAreCheckedAndUnknownOnesAreErrors) {
  const auto error = [](const std::string& yaml) {
    const auto config = read_config("workers: []\n" + yaml, "g.yaml");
    EXPECT_FALSE(config) << yaml;
    return config ? "" : config.error().message;
  };
  EXPECT_NE(error("shadow: {rate: 0.1}").find("url"), std::string::npos);
  EXPECT_NE(error("shadow: {url: 'http://a:1', rate: 2}").find("rate"), std::string::npos);
  EXPECT_NE(error("shadow: {url: 'http://a:1', often: 1}").find("often"), std::string::npos);
  EXPECT_NE(error("shadow: {url: 'http://a:1', tls: {}}").find("https"), std::string::npos);
  EXPECT_NE(error("shadow: {url: 'https://a:1', tls: {ca: f}}").find("ca"), std::string::npos);
  EXPECT_NE(error("record: {rotate: 5m}").find("folder"), std::string::npos);
  EXPECT_NE(error("refit: {every: 5m}").find("shadow"), std::string::npos);
  EXPECT_NE(error("record: {folder: f}\nrefit: {min_requests: 3}").find("min_requests"), std::string::npos);
  const auto fine = read_config(
      "workers: []\nmodel: deepseek-v3\nshadow: {url: 'http://a:1', engine: sglang, rate: 0.5}\n"
      "record: {folder: f, rotate: 5m}\nrefit: {}\n",
      "g.yaml");
  ASSERT_TRUE(fine) << fine.error().message;
  EXPECT_EQ(fine->shadow.engine, ShadowEngine::kSglang);
  EXPECT_TRUE(fine->refit);
}

}  // namespace
}  // namespace moesaic::gateway
