// ELDR's early first token, on real sockets: it reaches the client before a decoder is asked, nothing is made
// twice, and whatever fails afterwards ends the stream with notice and frees the handoff.
#include "gateway/cluster.hpp"

namespace moesaic::gateway {
namespace {

using namespace std::chrono_literals;
using net::Header;
using net::Task;
using testing::Cluster;
using testing::ClusterOptions;
using testing::expected_text;
using testing::Got;
using testing::stream_text;

constexpr const char* kStream =
    R"({"prompt":"hello","max_tokens":8,"stream":true,"stream_options":{"include_usage":true}})";

ClusterOptions eldr(Nanoseconds deadline = 10s) {
  ClusterOptions options;
  options.handoff = protocol::Handoff::kEldr;
  options.configure = [deadline](Config& config) {
    config.deadlines.first_byte = config.deadlines.between_bytes = deadline;
  };
  return options;
}
std::vector<Header> fault(std::string kind) {
  std::vector<Header> headers;
  headers.push_back({"X-Emulator-Fault", std::move(kind)});
  return headers;
}

TEST(EarlyFirstToken, TheStreamIsWholeAndItsUsageCountsTheFirstToken) {
  Cluster cluster(eldr());
  cluster.run([&]() -> Task<void> {
    const Got got = co_await cluster.complete(kStream);
    EXPECT_EQ(got.status, 200);
    EXPECT_EQ(stream_text(got.body), expected_text("hello", 8)) << got.body;
    EXPECT_TRUE(got.has("\"completion_tokens\":8")) << got.body;
    EXPECT_FALSE(got.has("token_ids")) << got.body;
    EXPECT_FALSE(got.has("kv_transfer_params")) << got.body;
    EXPECT_TRUE(got.body.ends_with("data: [DONE]\n\n"));
    const Got ids = co_await cluster.complete(R"({"prompt":[5,6,7],"max_tokens":3,"stream":true})");
    EXPECT_EQ(ids.status, 200);
    EXPECT_TRUE(ids.body.ends_with("data: [DONE]\n\n")) << ids.body;
    co_await cluster.expect_quiet();
    EXPECT_EQ(cluster.worker(0).handoffs().taken(), 2u);
    EXPECT_EQ(cluster.outcome(Outcome::kFinished), 2u);
  });
}

TEST(EarlyFirstToken, ItIsThereWhileTheDecoderHangs) {
  Cluster cluster(eldr(300ms));
  cluster.run([&]() -> Task<void> {
    const Got got = co_await cluster.complete(kStream, fault("decode:hang"));
    EXPECT_EQ(got.status, 200);
    EXPECT_TRUE(got.whole);
    const std::string first = expected_text("hello", 1);
    EXPECT_LT(got.body.find(first), got.body.find("\"error\":")) << got.body;
    EXPECT_FALSE(got.has("[DONE]"));
    EXPECT_EQ(cluster.outcome(Outcome::kBroken), 1u);
    co_await cluster.expect_quiet();
  });
}

TEST(EarlyFirstToken, ADecoderThatFailsBreaksTheStreamWithNoticeAndTheHandoffIsFreed) {
  for (const char* kind : {"reset", "garbage", "refuse", "garbage-body", "oversized-head"}) {
    Cluster cluster(eldr());
    cluster.run([&]() -> Task<void> {
      const Got got = co_await cluster.complete(kStream, fault(std::string("decode:") + kind));
      EXPECT_EQ(got.status, 200) << kind;
      EXPECT_TRUE(got.whole) << kind;
      EXPECT_TRUE(got.has("\"error\":")) << kind << got.body;
      EXPECT_FALSE(got.has("[DONE]")) << kind;
      EXPECT_EQ(cluster.worker(1).stats().requests + cluster.worker(2).stats().requests, 1u) << "sent twice";
      EXPECT_EQ(cluster.outcome(Outcome::kBroken), 1u) << kind;
      const auto& ledger = cluster.gateway().state().ledger;
      const auto counted = [&] { return ledger.released_count() + ledger.taken_count() == 1; };
      co_await cluster.until(counted, "the handoff to be freed");
    });
  }
}

TEST(EarlyFirstToken, OneThatIsTheLastNeedsNoDecoder) {
  Cluster cluster(eldr());
  cluster.run([&]() -> Task<void> {
    const Got got = co_await cluster.complete(
        R"({"prompt":"hello","max_tokens":1,"stream":true,"stream_options":{"include_usage":true}})");
    EXPECT_EQ(stream_text(got.body), expected_text("hello", 1)) << got.body;
    EXPECT_TRUE(got.has("\"finish_reason\":\"length\"")) << got.body;
    EXPECT_TRUE(got.has("\"completion_tokens\":1")) << got.body;
    EXPECT_TRUE(got.body.ends_with("data: [DONE]\n\n"));
    co_await cluster.expect_quiet();
    EXPECT_EQ(cluster.worker(1).stats().requests + cluster.worker(2).stats().requests, 0u);
    EXPECT_EQ(cluster.worker(0).handoffs().released(), 1u);
    EXPECT_EQ(cluster.outcome(Outcome::kFinished), 1u);
  });
}

TEST(EarlyFirstToken, WhatTokenIdsWouldLoseGoesTheLongWay) {
  ClusterOptions options = eldr();
  Cluster cluster(std::move(options));
  cluster.run([&]() -> Task<void> {
    const Got logprobs =
        co_await cluster.complete(R"({"prompt":"hello","max_tokens":4,"stream":true,"logprobs":1})");
    EXPECT_EQ(stream_text(logprobs.body), expected_text("hello", 4)) << logprobs.body;
    const Got whole = co_await cluster.complete(R"({"prompt":"hello","max_tokens":4})");
    EXPECT_TRUE(whole.has(expected_text("hello", 4))) << whole.body;
    co_await cluster.expect_quiet();
    EXPECT_EQ(cluster.outcome(Outcome::kFinished), 2u);
  });
}

TEST(EarlyFirstToken, NoDecoderLeftIsSaidInTheStream) {
  ClusterOptions options = eldr();
  options.decode = 1;
  const auto inner = options.configure;
  options.configure = [inner](Config& config) {
    inner(config);
    config.health.interval = 1h;
  };
  Cluster cluster(std::move(options));
  cluster.run([&]() -> Task<void> {
    cluster.kill(1);
    const Got got = co_await cluster.complete(kStream);
    EXPECT_EQ(got.status, 200);
    EXPECT_TRUE(got.has(expected_text("hello", 1)));
    EXPECT_TRUE(got.has("\"error\":")) << got.body;
    EXPECT_TRUE(got.whole);
    EXPECT_EQ(cluster.outcome(Outcome::kBroken), 1u);
    EXPECT_EQ(cluster.gateway().state().ledger.orphaned_count(), 1u);  // nobody is left who could free it
    co_await cluster.expect_quiet(1);
  });
}

}  // namespace
}  // namespace moesaic::gateway
