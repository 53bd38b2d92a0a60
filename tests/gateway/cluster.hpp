// A gateway before emulated engines, all on real sockets and one loop, and a client that looks closely.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "emulator/worker.hpp"
#include "gateway/gateway.hpp"
#include "io/files.hpp"
#include "io/json.hpp"
#include "routing/decode_policies.hpp"

namespace moesaic::testing {

struct ClusterOptions {
  protocol::Handoff handoff = protocol::Handoff::kNone;
  std::size_t plain = 2, prefill = 1, decode = 2;
  Nanoseconds step = std::chrono::microseconds(200);
  std::function<void(gateway::Config&)> configure{};
  std::function<void(emulator::WorkerConfig&)> worker{};
  const simulate::Recording* recording = nullptr;
  /// A shadow engine beside the others, which config.shadow then names.
  std::optional<emulator::WorkerConfig> shadow{};
  io::FileSystem* files = &io::real_files();
  gateway::PolicyMaker policies{};
  /// What a reload finds changed in the configuration.
  std::function<void(gateway::Config&)> edit{};
};

/// What a client got.
struct Got {
  int status = 0;
  std::string body;
  bool whole = false;  ///< ended as HTTP says it must
  net::CallFault fault = net::CallFault::kNone;
  std::vector<net::Header> headers;

  Json json() const {
    auto parsed = io::parse_json(body, "the answer");
    return parsed ? *parsed : Json();
  }
  bool has(std::string_view text) const { return body.find(text) != std::string::npos; }
};

class Cluster {
 public:
  explicit Cluster(ClusterOptions options = {});

  /// Runs `body` to its end while everything serves. Once.
  void run(std::function<net::Task<void>()> body);

  net::Loop& loop() { return loop_; }
  gateway::Gateway& gateway() { return *gateway_; }
  ClusterOptions& options() { return options_; }
  emulator::Worker& worker(std::size_t i) { return *workers_[i]; }
  std::size_t workers() const { return workers_.size(); }
  emulator::Worker& shadow() { return *shadow_; }
  /// What /admin/routing says of learning.
  net::Task<Json> learning();
  /// The gateway ends, as after a drain.
  void stop_gateway() { gateway_.reset(); }
  /// The worker of that index dies; revive() starts a fresh one on its port.
  void kill(std::size_t i);
  void revive(std::size_t i);

  net::Task<Got> post(std::string path, std::string body, std::vector<net::Header> headers = {});
  net::Task<Got> complete(std::string body, std::vector<net::Header> headers = {}) {
    return post("/v1/completions", std::move(body), std::move(headers));
  }
  /// When the first and the last piece with a token of a completion's stream came; nothing when it broke.
  net::Task<std::optional<std::pair<Nanoseconds, Nanoseconds>>> stream_times(std::string body);
  net::Task<Got> admin(std::string method, std::string target, std::string body = "");
  /// Waits until `what` holds; fails the test when it takes too long.
  net::Task<void> until(std::function<bool()> what, std::string name);
  /// Everything in flight has come to its end: counters are back at zero, no handoff is pending.
  net::Task<void> expect_quiet(std::size_t pending_handoffs = 0);
  std::uint64_t outcome(gateway::Outcome outcome) const {
    return gateway_->state().metrics.outcomes[static_cast<std::size_t>(outcome)];
  }
  std::uint16_t port() const { return gateway_->port(); }

 private:
  net::Task<Got> call(net::HttpPool& pool, std::string method, std::string target,
                      std::vector<net::Header> headers, std::string body);

  net::Loop loop_;
  ClusterOptions options_;
  std::vector<std::unique_ptr<emulator::Worker>> workers_;
  std::vector<std::unique_ptr<emulator::Worker>> dead_;
  std::unique_ptr<emulator::Worker> shadow_;
  std::unique_ptr<gateway::Gateway> gateway_;
  std::unique_ptr<net::HttpPool> client_, admin_;
};

/// The text that a whole answer to a completion prompt has.
std::string expected_text(std::string_view prompt, std::uint32_t tokens);
/// The text of a stream's events, put together; nothing when an event is no JSON.
std::optional<std::string> stream_text(const std::string& body);

}  // namespace moesaic::testing
