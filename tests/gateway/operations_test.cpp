// What operators do to a gateway that serves.
#include <fstream>
#include <iterator>
#include <set>

#include "gateway/cluster.hpp"
#include "support/paths.hpp"
#include "support/program.hpp"
#include "support/temporary_folder.hpp"

namespace moesaic::gateway {
namespace {

using namespace std::chrono_literals;
using net::Header;
using net::Task;
using testing::Cluster;
using testing::ClusterOptions;
using testing::Got;
using testing::TemporaryFolder;

constexpr const char* kAsk = R"({"prompt":"hello","max_tokens":4})";

std::vector<Header> key(std::string secret) {
  std::vector<Header> headers;
  headers.push_back({"Authorization", "Bearer " + secret});
  return headers;
}

TEST(Operations, OnlyHoldersOfAKeyAreServed) {
  const TemporaryFolder folder;
  std::ofstream(folder / "keys") << "0123456789abcdef\n";
  Cluster cluster(ClusterOptions{.configure = [&](Config& config) { config.keys_file = folder / "keys"; }});
  cluster.run([&]() -> Task<void> {
    const Got without = co_await cluster.complete(kAsk);
    EXPECT_EQ(without.status, 401);
    EXPECT_TRUE(without.has("invalid_api_key"));
    EXPECT_EQ((co_await cluster.complete(kAsk, key("0123456789abcdeX"))).status, 401);
    EXPECT_EQ((co_await cluster.complete(kAsk, key("0123456789abcdef"))).status, 200);
    EXPECT_EQ(cluster.worker(0).stats().requests + cluster.worker(1).stats().requests, 1u);
  });
}

TEST(Operations, WorkersAreListedDrainedRemovedAndAdded) {
  Cluster cluster;
  cluster.run([&]() -> Task<void> {
    Got list = co_await cluster.admin("GET", "/admin/workers");
    EXPECT_EQ(list.json().find("workers")->as_array()->size(), 2u) << list.body;
    EXPECT_EQ((co_await cluster.admin("POST", "/admin/workers/plain0/drain")).status, 200);
    for (int i = 0; i < 3; ++i) EXPECT_EQ((co_await cluster.complete(kAsk)).status, 200);
    EXPECT_EQ(cluster.worker(0).stats().requests, 0u);
    EXPECT_EQ((co_await cluster.admin("POST", "/admin/workers/plain0/undrain")).status, 200);
    EXPECT_EQ((co_await cluster.admin("DELETE", "/admin/workers/plain1")).status, 200);
    EXPECT_EQ((co_await cluster.admin("DELETE", "/admin/workers/plain1")).status, 404);
    EXPECT_EQ((co_await cluster.complete(kAsk)).status, 200);
    EXPECT_EQ(cluster.worker(0).stats().requests, 1u);
    const std::string spec =
        R"({"name": "again", "url": "http://127.0.0.1:)" + std::to_string(cluster.worker(1).port()) + "\"}";
    EXPECT_EQ((co_await cluster.admin("POST", "/admin/workers", spec)).status, 200);
    const Got twice = co_await cluster.admin("POST", "/admin/workers", spec);
    EXPECT_EQ(twice.status, 400);
    EXPECT_TRUE(twice.has("there already"));
    EXPECT_EQ((co_await cluster.admin("POST", "/admin/workers", "{\"nonsense\": 1}")).status, 400);
    EXPECT_EQ((co_await cluster.admin("POST", "/admin/workers", "}]: {")).status, 400);
    co_await cluster.until([&] { return cluster.gateway().state().workers->routable(Role::kPlain) == 2; },
                           "the added worker");
    EXPECT_EQ((co_await cluster.admin("GET", "/admin/nothing")).status, 404);
  });
}

TEST(Operations, ThePolicyIsChangedLiveAndDecisionsSayWhy) {
  Cluster cluster;
  cluster.run([&]() -> Task<void> {
    co_await cluster.complete(kAsk);
    Got changed = co_await cluster.admin("POST", "/admin/policy", R"({"decode":"random"})");
    EXPECT_EQ(changed.status, 200) << changed.body;
    EXPECT_TRUE(changed.has("\"decode\":\"random\""));
    co_await cluster.complete(kAsk);
    const Got unknown = co_await cluster.admin("POST", "/admin/policy", R"({"decode":"wishful"})");
    EXPECT_EQ(unknown.status, 400);
    EXPECT_TRUE(unknown.has("jsq")) << "the error lists the policies there are";
    const Got decisions = co_await cluster.admin("GET", "/admin/decisions?limit=2");
    const Json parsed = decisions.json();
    const Json::Array& list = *parsed.find("decisions")->as_array();
    EXPECT_EQ(list.size(), 2u);
    EXPECT_EQ(*list[0].find("reason")->as_string(), "chance");
    EXPECT_EQ(*list[1].find("reason")->as_string(), "load");
    EXPECT_EQ(*list[0].find("usage")->as_string(), "none");
    const Got metrics = co_await cluster.admin("GET", "/metrics");
    EXPECT_TRUE(metrics.has("moesaic_requests_total{outcome=\"finished\"} 2")) << metrics.body;
    EXPECT_TRUE(metrics.has("moesaic_decisions_total{reason=\"chance\",usage=\"none\"} 1"));
    EXPECT_EQ((co_await cluster.admin("GET", "/admin/routing")).status, 200);
  });
}

TEST(Operations, TheDashboardDrawsNothingThatIsNotCounted) {
  std::ifstream file(moesaic::testing::source_path("deploy/grafana-gateway.json"));
  const std::string board(std::istreambuf_iterator<char>(file), {});
  std::set<std::string> names;
  const std::string start = "moesaic_";
  for (std::size_t at = board.find(start); at != std::string::npos; at = board.find(start, at)) {
    const std::size_t end = board.find_first_not_of("abcdefghijklmnopqrstuvwxyz_", at);
    names.insert(board.substr(at, end - at));
    at = end;
  }
  EXPECT_GE(names.size(), 10u);
  Cluster cluster;
  cluster.run([&]() -> Task<void> {
    co_await cluster.complete(kAsk);
    const Got metrics = co_await cluster.admin("GET", "/metrics");
    for (const std::string& name : names) {
      EXPECT_TRUE(metrics.has("\n" + name + "{") || metrics.has("\n" + name + " ")) << name;
    }
  });
}

TEST(Operations, PagesOfOthersAreNeitherAnsweredNorObeyed) {
  Cluster cluster;
  cluster.run([&]() -> Task<void> {
    const auto status = [&](std::string headers) -> Task<std::string> {
      auto connection =
          co_await net::connect(cluster.loop(), "127.0.0.1", cluster.gateway().admin_port(), 1s);
      EXPECT_TRUE(connection);
      co_await connection->write("POST /admin/workers/plain0/drain HTTP/1.1\r\n" + headers +
                                 "Content-Length: 0\r\n\r\n");
      bool more = true;
      while (more && connection->input().size() < 12) more = co_await connection->fill();
      EXPECT_TRUE(more);
      co_return more ? std::string(connection->input().substr(9, 3)) : "";
    };
    EXPECT_EQ(co_await status("Host: localhost:9000\r\nOrigin: http://evil.example\r\n"), "403");
    EXPECT_EQ(co_await status("Host: localhost:9000\r\nOrigin: null\r\n"), "403");
    EXPECT_EQ(co_await status("Host: evil.example:9000\r\nOrigin: http://evil.example:9000\r\n"), "403")
        << "a name of theirs that leads here";
    EXPECT_EQ(co_await status("Host: 127.evil.example:9000\r\nOrigin: http://127.evil.example:9000\r\n"),
              "403")
        << "such a name that looks like an address";
    EXPECT_EQ(cluster.gateway().state().workers->routable(Role::kPlain), 2u);
    EXPECT_EQ(co_await status("Host: localhost:9000\r\nOrigin: http://localhost:9000\r\n"), "200");
    EXPECT_EQ(co_await status("Host: [::1]:9000\r\n"), "200");
    EXPECT_EQ(co_await status("Host: 127.0.0.1:9000\r\n"), "200");
    EXPECT_EQ(cluster.gateway().state().workers->routable(Role::kPlain), 1u);
  });
}

TEST(Operations, TokensOfAStreamAreItsEventsWithoutUsageAndLastWord) {
  EXPECT_EQ(time_per_token(1s, 1s + 57ms, 21, false, 1), 3ms) << "20 tokens and the last word";
  EXPECT_EQ(time_per_token(1s, 1s + 57ms, 22, true, 1), 3ms);
  EXPECT_EQ(time_per_token(1s, 1s + 57ms, 41, false, 2), 3ms) << "20 tokens a choice";
  EXPECT_FALSE(time_per_token(1s, 2s, 2, false, 1)) << "one token has no token after it";
  EXPECT_FALSE(time_per_token(1s, 2s, 0, true, 0));
}

TEST(Operations, StreamsAreTimedAtTheirEvents) {
  Cluster cluster(ClusterOptions{.step = 3ms});
  cluster.run([&]() -> Task<void> {
    co_await cluster.complete(R"({"prompt":"x","max_tokens":20,"stream":true})");
    co_await cluster.complete(
        R"({"prompt":"x","max_tokens":20,"stream":true,"stream_options":{"include_usage":true}})");
    co_await cluster.complete(R"({"prompt":"x","max_tokens":20})");
    const Metrics& metrics = cluster.gateway().state().metrics;
    const auto per_token = metrics.recent_per_token.over(cluster.loop().now(), 12);
    EXPECT_EQ(per_token.count, 2u) << "whole answers have no time per token";
    EXPECT_EQ(metrics.per_token.count(), 2u);
    EXPECT_EQ(metrics.recent_first.over(cluster.loop().now(), 12).count, 2u);
    EXPECT_GT(per_token.p50, 0);
    EXPECT_EQ((co_await cluster.admin("GET", "/admin/latency")).status, 200);
  });
}

TEST(Operations, AReloadDoesNotTouchARunningStream) {
  const TemporaryFolder folder;
  Cluster cluster(ClusterOptions{.plain = 1, .step = 1ms});
  cluster.run([&]() -> Task<void> {
    net::Event over(cluster.loop());
    const auto stream = [](Cluster& c, net::Event& done) -> Task<void> {
      const Got got = co_await c.complete(R"({"prompt":"x","max_tokens":200,"stream":true})");
      EXPECT_TRUE(got.body.ends_with("data: [DONE]\n\n"));
      EXPECT_EQ(testing::stream_text(got.body), testing::expected_text("x", 200));
      done.set();
    };
    cluster.loop().spawn(stream(cluster, over));
    co_await cluster.until([&] { return cluster.worker(0).batch().running() == 1; }, "the stream to run");
    for (int i = 0; i < 20; ++i) {
      const Got reloaded = co_await cluster.admin("POST", "/admin/reload");
      EXPECT_EQ(reloaded.status, 200) << reloaded.body;
    }
    co_await over.wait();
    co_await cluster.expect_quiet();
  });
}

TEST(Operations, AReloadAppliesWhatTheFileSaysOrRefusesIt) {
  const TemporaryFolder folder;
  Cluster cluster;
  cluster.run([&]() -> Task<void> {
    EXPECT_EQ((co_await cluster.complete(kAsk)).status, 200);
    EXPECT_EQ(cluster.gateway().state().workers->all()[0]->pool->idle() +
                  cluster.gateway().state().workers->all()[1]->pool->idle(),
              1u);
    cluster.options().edit = [&](Config& config) {
      config.decode_policy = "round-robin";
      config.prefill_policy = "prefix-hash";
      config.client.max_idle = 0;
      config.log_file = folder / "log";
      config.max_in_flight = 7;
    };
    EXPECT_EQ((co_await cluster.admin("POST", "/admin/reload")).status, 200);
    const Got policy = co_await cluster.admin("GET", "/admin/policy");
    EXPECT_TRUE(policy.has("round-robin") && policy.has("prefix-hash")) << policy.body;
    EXPECT_EQ(cluster.gateway().state().config.max_in_flight, 7u);
    for (int i = 0; i < 4; ++i) EXPECT_EQ((co_await cluster.complete(kAsk)).status, 200);
    for (const auto& backend : cluster.gateway().state().workers->all()) EXPECT_EQ(backend->pool->idle(), 0u);
    EXPECT_TRUE(std::ifstream(folder / "log").good());
    cluster.options().edit = [](Config& config) { config.trace = "other.zarr"; };
    const Got refused = co_await cluster.admin("POST", "/admin/reload");
    EXPECT_EQ(refused.status, 400);
    EXPECT_TRUE(refused.has("policy.trace")) << refused.body;
    EXPECT_EQ(cluster.gateway().state().config.max_in_flight, 7u) << "a refused reload changes nothing";
  });
}

TEST(Operations, DrainFinishesWhatRunsAndRefusesTheRest) {
  Cluster cluster(ClusterOptions{.plain = 1, .step = 1ms});
  cluster.run([&]() -> Task<void> {
    net::Event over(cluster.loop()), drained(cluster.loop());
    const auto stream = [](Cluster& c, net::Event& done) -> Task<void> {
      const Got got = co_await c.complete(R"({"prompt":"x","max_tokens":100,"stream":true})");
      EXPECT_TRUE(got.body.ends_with("data: [DONE]\n\n"));
      done.set();
    };
    cluster.loop().spawn(stream(cluster, over));
    co_await cluster.until([&] { return cluster.worker(0).batch().running() == 1; }, "the stream to run");
    cluster.gateway().drain([&drained] { drained.set(); });
    EXPECT_FALSE(cluster.gateway().state().ready());
    EXPECT_FALSE(co_await net::connect(cluster.loop(), "127.0.0.1", cluster.port(), 1s));
    EXPECT_EQ((co_await cluster.admin("GET", "/ready")).status, 503);
    co_await over.wait();
    co_await drained.wait();
    EXPECT_EQ(cluster.gateway().connections(), 0u);
    EXPECT_EQ(cluster.gateway().state().in_flight, 0u);
  });
}

TEST(Operations, TheDrainTimeoutEndsWhatDoesNotEnd) {
  Cluster cluster(ClusterOptions{
      .plain = 1, .step = 1ms, .configure = [](Config& config) { config.drain_timeout = 50ms; }});
  cluster.run([&]() -> Task<void> {
    auto connection = co_await net::connect(cluster.loop(), "127.0.0.1", cluster.port(), 1s);
    const std::string body = R"({"prompt":"x","max_tokens":1000000,"stream":true})";
    co_await connection->write("POST /v1/completions HTTP/1.1\r\nHost: g\r\nContent-Length: " +
                               std::to_string(body.size()) + "\r\n\r\n" + body);
    co_await cluster.until([&] { return cluster.worker(0).batch().running() == 1; }, "the stream to run");
    net::Event drained(cluster.loop());
    cluster.gateway().drain([&drained] { drained.set(); });
    co_await drained.wait();
    co_await cluster.expect_quiet();
  });
}

TEST(Operations, TheLoadThatWorkersReportMovesRequests) {
  Cluster cluster(ClusterOptions{.configure = [](Config& config) { config.health.interval = 5ms; }});
  cluster.run([&]() -> Task<void> {
    cluster.worker(0).lie_about_load(50);  // others send to it too
    co_await cluster.until(
        [&] {
          const auto& backend = cluster.gateway().state().workers->all()[0];
          return backend->load && backend->load->running == 50;
        },
        "the report");
    for (int i = 0; i < 5; ++i) co_await cluster.complete(kAsk);
    EXPECT_EQ(cluster.worker(1).stats().requests, 5u);
  });
}

TEST(Operations, AFailingHealthCheckTakesAWorkerOut) {
  Cluster cluster(ClusterOptions{.configure = [](Config& config) { config.health.interval = 5ms; }});
  cluster.run([&]() -> Task<void> {
    cluster.worker(0).set_unhealthy(true);
    co_await cluster.until([&] { return cluster.gateway().state().workers->routable(Role::kPlain) == 1; },
                           "the worker to be out");
    for (int i = 0; i < 3; ++i) EXPECT_EQ((co_await cluster.complete(kAsk)).status, 200);
    EXPECT_EQ(cluster.worker(0).stats().requests, 0u);
    cluster.worker(0).set_unhealthy(false);
    co_await cluster.until([&] { return cluster.gateway().state().workers->routable(Role::kPlain) == 2; },
                           "the worker to be back");
  });
}

TEST(Operations, TheLogTellsARequestWithoutItsText) {
  const TemporaryFolder folder;
  {
    Cluster cluster(ClusterOptions{.configure = [&](Config& config) { config.log_file = folder / "log"; }});
    cluster.run([&]() -> Task<void> {
      std::vector<Header> headers;
      headers.push_back({"X-Request-Id", "r-1"});
      headers.push_back({"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"});
      co_await cluster.complete(R"({"prompt":"a very secret prompt"})", headers);
    });
  }
  std::ifstream file(folder / "log");
  bool found = false;
  for (std::string line; std::getline(file, line);) {
    EXPECT_TRUE(io::parse_json(line, "log")) << line;
    EXPECT_EQ(line.find("secret"), std::string::npos);
    if (line.find("\"request_id\":\"r-1\"") != std::string::npos) {
      found = true;
      EXPECT_NE(line.find("0af7651916cd43dd8448eb211c80319c"), std::string::npos);
      EXPECT_NE(line.find("\"outcome\":\"finished\""), std::string::npos);
    }
  }
  EXPECT_TRUE(found);
}

}  // namespace
}  // namespace moesaic::gateway
