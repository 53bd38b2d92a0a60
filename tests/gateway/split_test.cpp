// Prefill and decode on different engines: every protocol, and every leg at which it can fail.
#include "gateway/cluster.hpp"

namespace moesaic::gateway {
namespace {

using namespace std::chrono_literals;
using emulator::Fault;
using net::Header;
using net::Task;
using protocol::Handoff;
using testing::Cluster;
using testing::ClusterOptions;
using testing::expected_text;
using testing::Got;
using testing::stream_text;

constexpr const char* kAsk = R"({"model":"emulated","prompt":"hello","max_tokens":8,"min_tokens":4})";
constexpr const char* kStream =
    R"({"prompt":"hello","max_tokens":8,"stream":true,"stream_options":{"include_usage":true}})";

std::vector<Header> fault(std::string kind) {
  std::vector<Header> headers;
  headers.push_back({"X-Emulator-Fault", std::move(kind)});
  return headers;
}

/// Deadlines are short only where one must come: a busy machine is slow, too.
ClusterOptions split(Handoff handoff, std::string_view fault_kind = "") {
  ClusterOptions options;
  options.handoff = handoff;
  const bool waits = fault_kind == "hang" || fault_kind == "stall";
  const Nanoseconds deadline = waits ? Nanoseconds(300ms) : Nanoseconds(10s);
  options.configure = [deadline](Config& config) {
    config.deadlines.prefill = deadline;
    config.deadlines.first_byte = deadline;
    config.deadlines.between_bytes = deadline;
    config.client.parse.body_bytes = 4u << 20;
  };
  return options;
}

class EveryHandoff : public ::testing::TestWithParam<Handoff> {};
INSTANTIATE_TEST_SUITE_P(Protocols, EveryHandoff,
                         ::testing::Values(Handoff::kNixl, Handoff::kEldr, Handoff::kMooncake,
                                           Handoff::kSglang),
                         [](const auto& test) { return std::string(protocol::to_string(test.param)); });

TEST_P(EveryHandoff, AnswersAreTheDecodersAndEveryHandoffIsTakenOnce) {
  Cluster cluster(split(GetParam()));
  cluster.run([&]() -> Task<void> {
    for (int i = 0; i < 4; ++i) {
      const Got whole = co_await cluster.complete(kAsk);
      EXPECT_EQ(whole.status, 200) << whole.body;
      EXPECT_TRUE(whole.has(expected_text("hello", 8))) << whole.body;
      const Got stream = co_await cluster.complete(kStream);
      EXPECT_EQ(stream_text(stream.body), expected_text("hello", 8)) << stream.body;
      const Got chat = co_await cluster.post(
          "/v1/chat/completions", R"({"messages":[{"role":"user","content":"hi"}],"max_tokens":2})");
      EXPECT_EQ(chat.status, 200) << chat.body;
    }
    co_await cluster.expect_quiet();
    EXPECT_EQ(cluster.worker(0).handoffs().taken(), 12u);
    EXPECT_EQ(cluster.worker(1).stats().decodes + cluster.worker(2).stats().decodes, 12u);
    EXPECT_EQ(cluster.outcome(Outcome::kFinished), 12u);
  });
}

TEST_P(EveryHandoff, APrefillerThatFailsEndsTheRequestCleanly) {
  for (const char* kind : {"reset", "hang", "garbage", "oversized-head", "oversized"}) {
    Cluster cluster(split(GetParam(), kind));
    cluster.run([&]() -> Task<void> {
      const Got got = co_await cluster.complete(kStream, fault(std::string("prefill:") + kind));
      EXPECT_TRUE(got.status == 502 || got.status == 504) << kind << ": " << got.status << got.body;
      EXPECT_TRUE(got.json().find("error") != nullptr) << got.body;
      co_await cluster.expect_quiet();
      EXPECT_EQ((co_await cluster.complete(kAsk)).status, 200);
      co_await cluster.expect_quiet();
    });
  }
}

TEST_P(EveryHandoff, ADecoderThatFailsBeforeItAnswersEndsTheRequestOnce) {
  for (const char* kind : {"reset", "hang", "garbage", "oversized-head"}) {
    Cluster cluster(split(GetParam(), kind));
    cluster.run([&]() -> Task<void> {
      const Got got = co_await cluster.complete(kAsk, fault(std::string("decode:") + kind));
      EXPECT_TRUE(got.status == 502 || got.status == 504) << kind << ": " << got.status << got.body;
      EXPECT_EQ(cluster.worker(1).stats().requests + cluster.worker(2).stats().requests, 1u) << "sent twice";
      // The prompt's KV stays with the prefiller where the engine has no way to give it back.
      co_await cluster.expect_quiet(GetParam() == Handoff::kEldr ? 0 : 1);
      const auto& ledger = cluster.gateway().state().ledger;
      EXPECT_EQ(ledger.released_count(), GetParam() == Handoff::kEldr ? 1u : 0u);
      EXPECT_EQ(ledger.taken_count(), 0u);
    });
  }
}

TEST_P(EveryHandoff, AStreamThatBreaksEndsWithAnErrorEvent) {
  for (const char* kind : {"reset-during", "end-early", "stall"}) {
    Cluster cluster(split(GetParam(), kind));
    cluster.run([&]() -> Task<void> {
      const Got got = co_await cluster.complete(kStream, fault(std::string("decode:") + kind));
      EXPECT_TRUE(got.whole);
      EXPECT_TRUE(got.has("\"error\":")) << kind << got.body;
      EXPECT_FALSE(got.has("[DONE]"));
      EXPECT_EQ(cluster.outcome(Outcome::kBroken), 1u);
      co_await cluster.expect_quiet();
    });
  }
}

TEST_P(EveryHandoff, AClientThatLeavesCancelsBothLegs) {
  ClusterOptions options = split(GetParam());
  options.worker = [](emulator::WorkerConfig& worker) {
    worker.prefill_fixed = 100ms;
    worker.step.fixed = 5ms;
  };
  Cluster cluster(std::move(options));
  cluster.run([&]() -> Task<void> {
    const std::string body = R"({"prompt":"x","max_tokens":100000,"stream":true})";
    const std::string request =
        "POST /v1/completions HTTP/1.1\r\nHost: g\r\nContent-Length: " + std::to_string(body.size()) +
        "\r\n\r\n" + body;
    {  // while the prefill runs
      auto connection = co_await net::connect(cluster.loop(), "127.0.0.1", cluster.port(), 1s);
      co_await connection->write(request);
      co_await cluster.until([&] { return cluster.worker(0).in_flight() == 1; }, "the prefill to run");
    }
    co_await cluster.expect_quiet();
    {  // while the decode runs
      auto connection = co_await net::connect(cluster.loop(), "127.0.0.1", cluster.port(), 1s);
      co_await connection->write(request);
      co_await cluster.until(
          [&] { return cluster.worker(1).batch().running() + cluster.worker(2).batch().running() == 1; },
          "the decode to run");
    }
    co_await cluster.expect_quiet();
    EXPECT_EQ(cluster.outcome(Outcome::kClientGone), 2u);
  });
}

TEST_P(EveryHandoff, ADeadDecoderIsReplacedAfterThePrefill) {
  ClusterOptions options = split(GetParam());
  const auto inner = options.configure;
  options.configure = [inner](Config& config) {
    inner(config);
    config.health.interval = 1h;
  };
  Cluster cluster(std::move(options));
  cluster.run([&]() -> Task<void> {
    cluster.kill(1);
    for (int i = 0; i < 4; ++i) {
      const Got got = co_await cluster.complete(kAsk);
      EXPECT_EQ(got.status, 200) << got.body;
    }
    EXPECT_EQ(cluster.gateway().state().metrics.connect_retries, 1u);
    co_await cluster.expect_quiet();
  });
}

/// Join-shortest-queue that calls back when it is asked: after the prefill of a sequential handoff, before
/// its decode.
class Between final : public routing::DecodePolicy {
 public:
  explicit Between(std::function<void()>& call) : call_(call) {}
  std::string_view name() const override { return inner_->name(); }
  void worker_up(const routing::Worker& worker, Nanoseconds at) override { inner_->worker_up(worker, at); }
  void worker_down(routing::WorkerId worker, Nanoseconds at) override { inner_->worker_down(worker, at); }
  void worker_load(routing::WorkerId worker, const routing::WorkerLoad& load, Nanoseconds at) override {
    inner_->worker_load(worker, load, at);
  }
  std::uint32_t in_flight(routing::WorkerId worker) const override { return inner_->in_flight(worker); }
  routing::Decision admit(const routing::Request& request, Nanoseconds at) override {
    const routing::Decision decision = inner_->admit(request, at);
    if (const auto call = std::exchange(call_, {})) call();
    return decision;
  }
  void first_token(routing::RequestId request, Nanoseconds at) override { inner_->first_token(request, at); }
  void finished(routing::RequestId request, Nanoseconds at) override { inner_->finished(request, at); }
  std::optional<routing::RefitJob> tick(Nanoseconds at) override { return inner_->tick(at); }
  void refitted(const std::optional<routing::RefitResult>& result, Nanoseconds at) override {
    inner_->refitted(result, at);
  }

 private:
  std::function<void()>& call_;
  std::unique_ptr<routing::DecodePolicy> inner_ = routing::make_jsq();
};

ClusterOptions with_between(ClusterOptions options, std::function<void()>& call) {
  options.policies.decode = [&call](std::string_view) -> Result<std::unique_ptr<routing::DecodePolicy>> {
    return std::make_unique<Between>(call);
  };
  return options;
}

TEST_P(EveryHandoff, APrefillerThatDiesBetweenTheLegsEndsTheRequestOnce) {
  std::function<void()> between;
  Cluster cluster(with_between(split(GetParam()), between));
  cluster.run([&]() -> Task<void> {
    between = [&] { cluster.kill(0); };
    const Got got = co_await cluster.complete(kStream);
    if (GetParam() == Handoff::kEldr) {  // the first token has left before
      EXPECT_EQ(stream_text(got.body.substr(0, got.body.find("data: {\"error\":"))),
                expected_text("hello", 1));
      EXPECT_TRUE(got.has("\"error\":")) << got.body;
    } else {
      EXPECT_GE(got.status, 500) << got.body;
      EXPECT_TRUE(got.json().find("error") != nullptr) << got.body;
    }
    std::uint64_t outcomes = 0;
    for (const std::uint64_t count : cluster.gateway().state().metrics.outcomes) outcomes += count;
    EXPECT_EQ(outcomes, 1u);
    EXPECT_LE(cluster.worker(1).stats().requests + cluster.worker(2).stats().requests, 1u) << "sent twice";
    EXPECT_EQ(cluster.worker(1).stats().finished + cluster.worker(2).stats().finished, 0u);
    cluster.revive(0);
    co_await cluster.until([&] { return cluster.gateway().state().ready(); }, "the prefiller to be back");
    EXPECT_EQ((co_await cluster.complete(kStream)).status, 200);
    co_await cluster.expect_quiet();
    EXPECT_EQ(cluster.gateway().state().ledger.released_count(), 0u) << "who is dead releases nothing";
  });
}

TEST_P(EveryHandoff, ADecoderThatDiesBetweenTheLegsIsReplaced) {
  std::function<void()> between;
  Cluster cluster(with_between(split(GetParam()), between));
  cluster.run([&]() -> Task<void> {
    between = [&] { cluster.kill(1); };
    const Got got = co_await cluster.complete(kStream);
    EXPECT_EQ(got.status, 200) << got.body;
    EXPECT_EQ(stream_text(got.body), expected_text("hello", 8)) << got.body;
    EXPECT_EQ(cluster.worker(1).stats().requests, 0u);
    EXPECT_EQ(cluster.worker(2).stats().requests, 1u);
    co_await cluster.expect_quiet();
  });
}

TEST_P(EveryHandoff, TheDecodersRanksAreAddressedOneByOne) {
  for (const RankBy by : {RankBy::kHeader, RankBy::kBody}) {
    ClusterOptions options = split(GetParam());
    options.decode = 1;
    options.configure = [by](Config& config) {
      config.workers[1].rank_by = by;
      config.health.read_load = false;  // a report may be a request late
    };
    options.worker = [](emulator::WorkerConfig& worker) {
      worker.ranks = worker.role == protocol::Role::kDecode ? 4 : 1;
    };
    Cluster cluster(std::move(options));
    cluster.run([&]() -> Task<void> {
      for (int i = 0; i < 8; ++i) {
        EXPECT_EQ((co_await cluster.complete(kAsk)).status, 200);
        co_await cluster.expect_quiet();  // else the next one sees this one's rank as busy
      }
      const std::map<std::uint64_t, std::uint64_t> each{{0, 2}, {1, 2}, {2, 2}, {3, 2}};
      EXPECT_EQ(cluster.worker(1).stats().of_rank, each);
    });
  }
}

TEST(Split, AClientThatRepeatsARequestIdNamesNoOtherPrompt) {
  for (const Handoff handoff : {Handoff::kEldr, Handoff::kMooncake}) {
    Cluster cluster(split(handoff));
    cluster.run([&]() -> Task<void> {
      for (const char* prompt : {"first", "second"}) {
        std::vector<Header> headers;
        headers.push_back({"X-Request-Id", "same"});
        const std::string ask = std::string(R"({"max_tokens":2,"prompt":")") + prompt + "\"}";
        const Got got = co_await cluster.complete(ask, headers);
        EXPECT_TRUE(got.has(expected_text(prompt, 2))) << got.body;
      }
      co_await cluster.expect_quiet();
    });
  }
}

TEST_P(EveryHandoff, WhatThePrefillerRefusesIsTheClientsFaultAndNotIts) {
  ClusterOptions options = split(GetParam());
  options.configure = [](Config& config) { config.health.eject_after = 1; };
  options.worker = [](emulator::WorkerConfig& worker) {
    if (worker.role == protocol::Role::kPrefill) worker.kv_tokens = 20;
  };
  Cluster cluster(std::move(options));
  cluster.run([&]() -> Task<void> {
    const std::string ask = R"({"max_tokens":2,"prompt":")" + std::string(400, 'x') + "\"}";
    const Got got = co_await cluster.complete(ask);
    EXPECT_EQ(got.status, 400) << got.body;
    EXPECT_TRUE(got.has("KV cache")) << got.body;
    EXPECT_EQ(cluster.gateway().state().workers->find("prefill0")->failures, 0u);
    EXPECT_EQ((co_await cluster.complete(kAsk)).status, 200);
    co_await cluster.expect_quiet();
  });
}

TEST(Split, APrefillReplyWithoutAHandoffIsAnErrorThatSaysSo) {
  Cluster cluster(split(Handoff::kNixl));
  cluster.run([&]() -> Task<void> {
    const Got got = co_await cluster.complete(kAsk, fault("prefill:lost-handoff"));
    EXPECT_EQ(got.status, 502);
    EXPECT_TRUE(got.has("kv_transfer_params")) << got.body;
    const Got garbage = co_await cluster.complete(kAsk, fault("prefill:garbage-body"));
    EXPECT_EQ(garbage.status, 502);
    const Got refused = co_await cluster.complete(kAsk, fault("prefill:refuse"));
    EXPECT_EQ(refused.status, 503);
    co_await cluster.expect_quiet(1);
  });
}

TEST(Split, SeveralChoicesGoToOneEngineWhole) {
  Cluster cluster(split(Handoff::kNixl));
  cluster.run([&]() -> Task<void> {
    const Got got = co_await cluster.complete(R"({"prompt":"x","n":3,"max_tokens":2})");
    EXPECT_EQ(got.status, 200) << got.body;
    EXPECT_EQ(got.json().find("choices")->as_array()->size(), 3u);
    EXPECT_EQ(cluster.worker(0).stats().requests, 0u);
    co_await cluster.expect_quiet();
  });
  Cluster sglang(split(Handoff::kSglang));
  sglang.run(
      [&]() -> Task<void> { EXPECT_EQ((co_await sglang.complete(R"({"prompt":"x","n":3})")).status, 400); });
}

TEST(Split, AForgedHandoffIsRefusedByTheEmulatorItself) {
  Cluster cluster(split(Handoff::kNixl));
  cluster.run([&]() -> Task<void> {
    net::HttpPool decoder(cluster.loop(), "127.0.0.1", cluster.worker(1).port(), {});
    const std::string forged =
        R"({"prompt":"x","kv_transfer_params":{"do_remote_prefill":true,"remote_block_ids":[1],"remote_engine_id":)"
        R"("prefill0","remote_request_id":"none","remote_host":"127.0.0.1","remote_port":)" +
        std::to_string(cluster.worker(0).port()) + R"(,"x_unknown":{"of":"none","list":[null,1.5]}}})";
    std::vector<Header> headers;
    const auto answer =
        co_await net::fetch(cluster.loop(), decoder, "POST", "/v1/completions", headers, forged, 5s, 1 << 20);
    EXPECT_TRUE(answer);
    if (answer) {
      EXPECT_EQ(answer->head.status, 400);
      EXPECT_NE(answer->body.find("unknown"), std::string::npos) << answer->body;
    }
  });
}

}  // namespace
}  // namespace moesaic::gateway
