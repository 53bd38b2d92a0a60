// The plain path: one call, relayed; every way it can fail, on real sockets.
#include "gateway/cluster.hpp"

namespace moesaic::gateway {
namespace {

using namespace std::chrono_literals;
using emulator::Fault;
using net::Header;
using net::Task;
using testing::Cluster;
using testing::ClusterOptions;
using testing::expected_text;
using testing::Got;
using testing::stream_text;

constexpr const char* kAsk = R"({"model":"emulated","prompt":"hello","max_tokens":8})";
constexpr const char* kStream = R"({"model":"emulated","prompt":"hello","max_tokens":8,"stream":true})";

std::string text_of(const Got& got) {
  const Json json = got.json();
  const Json* choices = json.find("choices");
  return choices == nullptr ? "" : *choices->as_array()->front().find("text")->as_string();
}
std::vector<Header> with(std::string name, std::string value) {
  std::vector<Header> headers;
  headers.push_back({std::move(name), std::move(value)});
  return headers;
}
std::vector<Header> fault(std::string kind) { return with("X-Emulator-Fault", std::move(kind)); }

TEST(Plain, AnswersAreTheWorkers) {
  Cluster cluster;
  cluster.run([&]() -> Task<void> {
    const Got whole = co_await cluster.complete(kAsk);
    EXPECT_EQ(whole.status, 200) << whole.body;
    EXPECT_EQ(text_of(whole), expected_text("hello", 8));
    const Got stream = co_await cluster.complete(kStream);
    EXPECT_EQ(stream_text(stream.body), expected_text("hello", 8));
    EXPECT_TRUE(stream.body.ends_with("data: [DONE]\n\n"));
    const Got chat =
        co_await cluster.post("/v1/chat/completions",
                              R"({"messages":[{"role":"user","content":"hi"}],"max_tokens":3,"stream":true,)"
                              R"("stream_options":{"include_usage":true}})");
    EXPECT_TRUE(chat.has("\"completion_tokens\":3")) << chat.body;
    co_await cluster.expect_quiet();
    EXPECT_EQ(cluster.outcome(Outcome::kFinished), 3u);
  });
}

TEST(Plain, TheRequestIdIsTheClientsOrMintedAndReachesTheWorker) {
  Cluster cluster;
  cluster.run([&]() -> Task<void> {
    const Got named = co_await cluster.complete(kAsk, with("X-Request-Id", "abc-1"));
    EXPECT_EQ(*net::find_header(named.headers, "x-request-id"), "abc-1");
    EXPECT_TRUE(named.has("\"cmpl-abc-1\""));
    const Got odd = co_await cluster.complete(kAsk, with("X-Request-Id", "a\"b c"));
    EXPECT_EQ(net::find_header(odd.headers, "x-request-id")->size(), 32u);
  });
}

TEST(Plain, RequestsSpreadOverTheWorkers) {
  Cluster cluster(ClusterOptions{.plain = 3});
  cluster.run([&]() -> Task<void> {
    for (int i = 0; i < 9; ++i) co_await cluster.complete(kAsk);
    for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(cluster.worker(i).stats().finished, 3u);
  });
}

TEST(Plain, ALargePromptPassesByteForByte) {
  Cluster cluster;
  cluster.run([&]() -> Task<void> {
    std::string prompt;
    while (prompt.size() < 220'000) prompt += "word " + std::to_string(prompt.size()) + " ";
    const Got got = co_await cluster.complete("{\"max_tokens\":2,\"prompt\":\"" + prompt + "\"}");
    EXPECT_EQ(text_of(got), expected_text(prompt, 2));
  });
}

TEST(Plain, BadRequestsAreAnsweredByWhoeverSeesThem) {
  Cluster cluster;
  cluster.run([&]() -> Task<void> {
    const Got no_json = co_await cluster.complete("{nonsense");
    EXPECT_EQ(no_json.status, 400);
    EXPECT_TRUE(no_json.has("\"type\":\"invalid_request_error\"")) << no_json.body;
    EXPECT_EQ((co_await cluster.complete(R"({"max_tokens":3})")).status, 400);
    const Got engines = co_await cluster.complete(R"({"prompt":"x","max_tokens":2,"min_tokens":5})");
    EXPECT_EQ(engines.status, 400);
    EXPECT_TRUE(engines.has("min_tokens"));
    EXPECT_EQ((co_await cluster.complete(R"({"prompt":"x","model":"other"})")).status, 404);
    EXPECT_EQ((co_await cluster.post("/v1/other", "{}")).status, 404);
    co_await cluster.expect_quiet();
  });
}

TEST(Plain, WhatOnlyTheGatewayMaySayNeverReachesAWorker) {
  Cluster cluster;
  cluster.run([&]() -> Task<void> {
    const Got got = co_await cluster.complete(
        R"({"prompt":"x","kv_transfer_params":{"do_remote_prefill":true},"routed_dp_rank":9})",
        with("X-data-parallel-rank", "7"));
    EXPECT_EQ(got.status, 200) << got.body;
  });
  Cluster strict(ClusterOptions{.configure = [](Config& config) { config.refuse_reserved = true; }});
  strict.run([&]() -> Task<void> {
    const Got got = co_await strict.complete(R"({"prompt":"x","bootstrap_room":1})");
    EXPECT_EQ(got.status, 400);
    EXPECT_TRUE(got.has("bootstrap_room"));
  });
}

TEST(Plain, ADeadWorkerIsReplacedBeforeAnythingIsSent) {
  Cluster cluster(ClusterOptions{.configure = [](Config& config) { config.health.interval = 1h; }});
  cluster.run([&]() -> Task<void> {
    cluster.kill(0);
    for (int i = 0; i < 4; ++i)
      EXPECT_EQ(text_of(co_await cluster.complete(kAsk)), expected_text("hello", 8));
    EXPECT_EQ(cluster.worker(1).stats().finished, 4u);
    EXPECT_EQ(cluster.gateway().state().metrics.connect_retries, 1u);
    cluster.kill(1);
    const Got none = co_await cluster.complete(kAsk);
    EXPECT_EQ(none.status, 503) << none.body;
    EXPECT_NE(net::find_header(none.headers, "retry-after"), nullptr);
    co_await cluster.expect_quiet();
  });
}

TEST(Plain, AWorkerThatComesBackIsUsedAgain) {
  Cluster cluster(ClusterOptions{.plain = 1});
  cluster.run([&]() -> Task<void> {
    cluster.kill(0);
    co_await cluster.until([&] { return !cluster.gateway().state().ready(); }, "the death to be seen");
    EXPECT_EQ((co_await cluster.complete(kAsk)).status, 503);
    cluster.revive(0);
    co_await cluster.until([&] { return cluster.gateway().state().ready(); }, "the revival to be seen");
    EXPECT_EQ((co_await cluster.complete(kAsk)).status, 200);
  });
}

struct FaultCase {
  const char* fault;
  bool stream;
  int status;
  Outcome outcome;
};
void PrintTo(const FaultCase& c, std::ostream* out) { *out << c.fault << (c.stream ? " stream" : ""); }

class PlainFaults : public ::testing::TestWithParam<FaultCase> {};

TEST_P(PlainFaults, EndOnceWithACleanWordAndNothingLeftBehind) {
  const FaultCase c = GetParam();
  // Short only where the deadline is what must come: a busy machine is slow, too.
  const std::string_view kind = c.fault;
  const Nanoseconds deadline = kind == "hang" || kind == "stall" ? Nanoseconds(300ms) : Nanoseconds(10s);
  Cluster cluster(ClusterOptions{.plain = 1, .configure = [&](Config& config) {
                                   config.deadlines.first_byte = deadline;
                                   config.deadlines.between_bytes = deadline;
                                   config.client.parse.body_bytes = 1 << 20;
                                 }});
  cluster.run([&]() -> Task<void> {
    const Got got = co_await cluster.complete(c.stream ? kStream : kAsk, fault(c.fault));
    EXPECT_EQ(got.status, c.status) << got.body.substr(0, 300);
    EXPECT_TRUE(got.whole) << net::to_string(got.fault);
    if (c.outcome == Outcome::kBroken) {
      EXPECT_TRUE(got.has("\"error\":")) << got.body;
      EXPECT_FALSE(got.has("[DONE]"));
      EXPECT_FALSE(got.has("cut he")) << "half an event reached the client";
    } else if (c.status != 200) {
      EXPECT_TRUE(got.json().find("error") != nullptr) << got.body.substr(0, 300);
    }
    EXPECT_EQ(cluster.outcome(c.outcome), 1u);
    EXPECT_EQ(cluster.worker(0).stats().requests, 1u) << "sent twice";
    co_await cluster.expect_quiet();
    // The gateway still serves.
    const Got after = co_await cluster.complete(kAsk);
    EXPECT_EQ(after.status, 200) << after.body;
  });
}

INSTANTIATE_TEST_SUITE_P(Matrix, PlainFaults,
                         ::testing::Values(FaultCase{"refuse", false, 503, Outcome::kFinished},
                                           FaultCase{"error", true, 500, Outcome::kFinished},
                                           FaultCase{"hang", false, 504, Outcome::kDeadline},
                                           FaultCase{"hang", true, 504, Outcome::kDeadline},
                                           FaultCase{"reset", false, 502, Outcome::kUpstreamError},
                                           FaultCase{"reset", true, 502, Outcome::kUpstreamError},
                                           FaultCase{"garbage", false, 502, Outcome::kUpstreamError},
                                           FaultCase{"oversized-head", false, 502, Outcome::kUpstreamError},
                                           FaultCase{"oversized-event", true, 200, Outcome::kBroken},
                                           FaultCase{"reset-during", false, 502, Outcome::kUpstreamError},
                                           FaultCase{"reset-during", true, 200, Outcome::kBroken},
                                           FaultCase{"end-early", true, 200, Outcome::kBroken},
                                           FaultCase{"stall", false, 504, Outcome::kDeadline},
                                           FaultCase{"stall", true, 200, Outcome::kBroken},
                                           FaultCase{"garbage-body", false, 200, Outcome::kFinished}));

TEST(Plain, AnAnswerBeyondTheLimitIsBrokenOff) {
  Cluster cluster(ClusterOptions{.plain = 1, .configure = [](Config& config) {
                                   config.client.parse.body_bytes = 4u << 20;
                                   config.max_held_bytes = 1u << 20;
                                 }});
  cluster.run([&]() -> Task<void> {
    const Got got = co_await cluster.complete(kAsk, fault("oversized"));
    EXPECT_EQ(got.status, 200);
    EXPECT_FALSE(got.whole) << "what is not whole must not look whole";
    EXPECT_EQ(cluster.outcome(Outcome::kBroken), 1u);
    co_await cluster.expect_quiet();
  });
}

TEST(Plain, AClientThatLeavesStopsItsWorker) {
  Cluster cluster(ClusterOptions{.plain = 1, .step = 5ms});
  cluster.run([&]() -> Task<void> {
    for (const bool stream : {true, false}) {
      {
        auto connection = co_await net::connect(cluster.loop(), "127.0.0.1", cluster.port(), 1s);
        const std::string body =
            std::string(R"({"prompt":"x","max_tokens":100000,"stream":)") + (stream ? "true}" : "false}");
        co_await connection->write("POST /v1/completions HTTP/1.1\r\nHost: g\r\nContent-Length: " +
                                   std::to_string(body.size()) + "\r\n\r\n" + body);
        co_await cluster.until([&] { return cluster.worker(0).batch().running() == 1; },
                               "the request to run");
      }
      co_await cluster.until([&] { return cluster.worker(0).batch().running() == 0; }, "the engine to stop");
      co_await cluster.expect_quiet();
    }
    EXPECT_EQ(cluster.outcome(Outcome::kClientGone), 2u);
    EXPECT_EQ(cluster.worker(0).stats().aborted, 2u);
  });
}

TEST(Plain, ASlowReaderIsGivenUpAndBuffersStayBounded) {
  Cluster cluster(ClusterOptions{.plain = 1, .configure = [](Config& config) {
                                   config.server.write_timeout = 200ms;
                                   config.client.parse.body_bytes = std::uint64_t{1} << 30;
                                 }});
  cluster.run([&]() -> Task<void> {
    auto connection = co_await net::connect(cluster.loop(), "127.0.0.1", cluster.port(), 1s);
    const std::string body = R"({"prompt":"x"})";
    co_await connection->write(
        "POST /v1/completions HTTP/1.1\r\nHost: g\r\nX-Emulator-Fault: oversized\r\nContent-Length: " +
        std::to_string(body.size()) + "\r\n\r\n" + body);
    // Half a GiB is on its way and nobody reads: the sockets fill, the gateway stops reading, and gives up.
    co_await cluster.until([&] { return cluster.outcome(Outcome::kClientGone) == 1; },
                           "the reader to be given up");
    co_await cluster.expect_quiet();
  });
}

TEST(Plain, TheTotalDeadlineHoldsForARunningStream) {
  Cluster cluster(ClusterOptions{
      .plain = 1, .step = 5ms, .configure = [](Config& config) { config.deadlines.total = 100ms; }});
  cluster.run([&]() -> Task<void> {
    const Got got = co_await cluster.complete(R"({"prompt":"x","max_tokens":100000,"stream":true})");
    EXPECT_TRUE(got.has("\"code\":\"deadline\"")) << got.body.substr(got.body.size() - 300);
    EXPECT_EQ(cluster.outcome(Outcome::kBroken), 1u);
    co_await cluster.expect_quiet();
  });
}

TEST(Plain, MoreRequestsThanAllowedGet429) {
  Cluster cluster(ClusterOptions{.plain = 1, .configure = [](Config& config) { config.max_in_flight = 1; }});
  cluster.run([&]() -> Task<void> {
    net::Event over(cluster.loop());
    const auto first = [](Cluster& c, net::Event& done) -> Task<void> {
      const Got got = co_await c.complete(kAsk, fault("hang"));
      EXPECT_EQ(got.status, 504);
      done.set();
    };
    const_cast<Config&>(cluster.gateway().state().config).deadlines.first_byte = 200ms;
    cluster.loop().spawn(first(cluster, over));
    co_await cluster.until([&] { return cluster.gateway().state().in_flight == 1; }, "the first request");
    const Got second = co_await cluster.complete(kAsk);
    EXPECT_EQ(second.status, 429) << second.body;
    EXPECT_EQ(*net::find_header(second.headers, "retry-after"), "1");
    EXPECT_TRUE(second.has("rate_limit_error"));
    co_await over.wait();
    EXPECT_EQ((co_await cluster.complete(kAsk)).status, 200);
  });
}

TEST(Plain, FailingWorkersAreEjectedButNeverMoreThanAllowed) {
  Cluster cluster(ClusterOptions{.configure = [](Config& config) {
    config.health.eject_after = 2;
    config.health.eject_for = 1h;
  }});
  cluster.run([&]() -> Task<void> {
    cluster.worker(0).set_fault(Fault::kReset, 100);
    int failures = 0;
    for (int i = 0; i < 20; ++i) failures += (co_await cluster.complete(kAsk)).status == 200 ? 0 : 1;
    EXPECT_EQ(failures, 2);
    // The last one stays, however bad.
    cluster.worker(1).set_fault(Fault::kReset, 3);
    for (int i = 0; i < 3; ++i) EXPECT_EQ((co_await cluster.complete(kAsk)).status, 502);
    EXPECT_EQ((co_await cluster.complete(kAsk)).status, 200);
  });
}

TEST(Plain, AWorkerWhoseEveryStreamBreaksIsEjectedThoughItsHeadsAreGood) {
  Cluster cluster(ClusterOptions{.configure = [](Config& config) {
    config.health.eject_after = 2;
    config.health.eject_for = 1h;
  }});
  cluster.run([&]() -> Task<void> {
    cluster.worker(0).set_fault(Fault::kResetDuring, 100);
    for (int i = 0; i < 20; ++i) co_await cluster.complete(R"({"prompt":"x","max_tokens":4,"stream":true})");
    EXPECT_EQ(cluster.outcome(Outcome::kBroken), 2u);
    EXPECT_EQ(cluster.outcome(Outcome::kFinished), 18u);
  });
}

TEST(Plain, DataParallelRanksAreAddressedOneByOne) {
  for (const RankBy by : {RankBy::kHeader, RankBy::kBody}) {
    Cluster cluster(ClusterOptions{.plain = 1,
                                   .configure =
                                       [by](Config& config) {
                                         config.workers[0].rank_by = by;
                                         config.health.read_load = false;  // a report may be a request late
                                       },
                                   .worker = [](emulator::WorkerConfig& worker) { worker.ranks = 4; }});
    cluster.run([&]() -> Task<void> {
      for (int i = 0; i < 8; ++i) {
        EXPECT_EQ((co_await cluster.complete(kAsk)).status, 200);
        co_await cluster.expect_quiet();  // else the next one sees this one's rank as busy
      }
      const std::map<std::uint64_t, std::uint64_t> each{{0, 2}, {1, 2}, {2, 2}, {3, 2}};
      EXPECT_EQ(cluster.worker(0).stats().of_rank, each);
    });
  }
}

}  // namespace
}  // namespace moesaic::gateway
