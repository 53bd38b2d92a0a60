// Load for a long time while workers die and come back: every request ends once, nothing is left, memory is
// flat. MOESAIC_SOAK_SECONDS (45) says how long.
#include <cstdlib>
#include <fstream>

#include "gateway/cluster.hpp"

namespace moesaic::gateway {
namespace {

using namespace std::chrono_literals;
using net::Task;
using testing::Cluster;
using testing::ClusterOptions;
using testing::expected_text;
using testing::Got;

std::size_t resident_kib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmRSS:")) return std::strtoul(line.c_str() + 6, nullptr, 10);
  }
  return 0;
}

struct Tally {
  std::uint64_t sent = 0, whole = 0, refused = 0, broken = 0, wrong = 0;
};

Task<void> client(Cluster& cluster, int number, Nanoseconds until, Tally& tally, int& running) {
  for (int i = 0; cluster.loop().now() < until; ++i) {
    const std::string prompt = "client " + std::to_string(number) + " request " + std::to_string(i);
    const bool stream = i % 2 == 0;
    ++tally.sent;
    const Got got = co_await cluster.complete("{\"prompt\":\"" + prompt + "\",\"max_tokens\":12" +
                                              (stream ? ",\"stream\":true}" : "}"));
    const std::string expected = expected_text(prompt, 12);
    if (got.status == 200 && stream && got.body.ends_with("data: [DONE]\n\n")) {
      ++(testing::stream_text(got.body) == expected ? tally.whole : tally.wrong);
    } else if (got.status == 200 && !stream && got.whole) {
      ++(got.has("\"" + expected + "\"") ? tally.whole : tally.wrong);
    } else if (got.status == 200) {
      // Broken in the middle: the client was told.
      ++(got.whole && got.has("\"error\":") ? tally.broken : tally.wrong);
    } else {
      ++(got.json().find("error") != nullptr ? tally.refused : tally.wrong);
      co_await cluster.loop().sleep(5ms);
    }
  }
  --running;
}

TEST(SlowSoak, WorkersDieAndComeBackAndNothingIsLostDoubledOrLeft) {
  const char* wish = std::getenv("MOESAIC_SOAK_SECONDS");
  const auto seconds = std::chrono::seconds(wish != nullptr ? std::strtol(wish, nullptr, 10) : 45);
  ClusterOptions options;
  options.handoff = protocol::Handoff::kNixl;
  options.prefill = 2;
  options.decode = 3;
  options.step = 2ms;
  options.worker = [](emulator::WorkerConfig& worker) { worker.handoff_lifetime = 1s; };
  Cluster cluster(std::move(options));
  cluster.run([&]() -> Task<void> {
    Tally tally;
    int running = 0;
    const Nanoseconds end = cluster.loop().now() + seconds;
    for (; running < 12; ++running) cluster.loop().spawn(client(cluster, running, end, tally, running));
    std::size_t early = 0, victim = 0;
    for (int round = 0; cluster.loop().now() < end; ++round) {
      co_await cluster.loop().sleep(3s);
      if (round == 1) early = resident_kib();
      cluster.kill(victim % cluster.workers());
      co_await cluster.loop().sleep(1s);
      cluster.revive(victim % cluster.workers());
      ++victim;
    }
    co_await cluster.until([&] { return running == 0; }, "the clients to end");
    EXPECT_EQ(tally.wrong, 0u);
    EXPECT_EQ(tally.sent, tally.whole + tally.refused + tally.broken);
    EXPECT_GT(tally.whole, tally.sent * 9 / 10) << "of " << tally.sent;
    std::uint64_t outcomes = 0;
    for (const std::uint64_t count : cluster.gateway().state().metrics.outcomes) outcomes += count;
    EXPECT_EQ(outcomes, tally.sent) << "exactly one outcome each";
    co_await cluster.until([&] { return cluster.gateway().state().in_flight == 0; }, "no request in flight");
    EXPECT_EQ(cluster.gateway().state().ledger.open_count(), 0u);
    EXPECT_LT(resident_kib(), early + 16 * 1024) << "memory grows";
    std::printf("%lu requests: %lu whole, %lu refused, %lu broken with notice; %zu KiB, early %zu KiB\n",
                tally.sent, tally.whole, tally.refused, tally.broken, resident_kib(), early);
  });
}

}  // namespace
}  // namespace moesaic::gateway
