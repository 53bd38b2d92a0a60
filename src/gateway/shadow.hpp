// A shadow engine: it gets copies of some requests and returns their experts, which stock engines do not do
// with prefill and decode apart. Nobody waits for it: copies wait in a bounded queue, what does not fit is
// dropped, and an engine that fails is left alone for a while. Belongs to the loop.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "core/clock.hpp"
#include "gateway/engine_tls.hpp"
#include "net/http_client.hpp"
#include "net/loop.hpp"
#include "protocol/request_body.hpp"

namespace moesaic::gateway {

/// How an engine is asked for experts, and how it answers.
enum class ShadowEngine { kVllm, kSglang };

struct ShadowOptions {
  std::string host{};  ///< "": there is none
  std::uint16_t port = 0;
  std::optional<EngineTls> tls{};
  ShadowEngine engine = ShadowEngine::kVllm;
  double rate = 0.01;                                 ///< share of the requests that are copied
  std::size_t max_in_flight = 2;                      ///< copies that it runs at once
  std::size_t queue = 32;                             ///< copies that wait; more are dropped
  std::size_t max_body_bytes = 1 << 20;               ///< larger requests are not copied
  std::uint32_t max_tokens = 128;                     ///< of an answer
  Nanoseconds timeout = std::chrono::seconds(60);     ///< of a whole answer
  Nanoseconds retry_after = std::chrono::seconds(1);  ///< after a failure

  bool operator==(const ShadowOptions&) const = default;
};

struct ShadowCounts {
  std::uint64_t copied = 0;    ///< requests that were chosen and queued
  std::uint64_t dropped = 0;   ///< chosen, but the queue was full or the body too large
  std::uint64_t answered = 0;  ///< 200, whole
  std::uint64_t failed = 0;    ///< not reached, too slow, broken off, or another status
};

class Shadow {
 public:
  /// What a copy is remembered by.
  struct Origin {
    std::string id;      ///< of the request
    std::string prompt;  ///< as the prefix cache takes it
    std::string words;   ///< its beginning, for the prompt model
  };
  /// The loop outlives this; `tls` is tls_peer() of the options; `seed` decides which requests are copied.
  /// REQUIRES: a host.
  Shadow(net::Loop& loop, const ShadowOptions& options, std::optional<net::TlsPeer> tls, std::uint64_t seed,
         std::function<void(Origin, std::string answer)> on_reply);
  ~Shadow();
  Shadow(const Shadow&) = delete;
  Shadow& operator=(const Shadow&) = delete;

  /// Whether the next request is one to be copied. Ask once a request.
  bool chooses_next();
  /// Queues a copy; on_reply() gets `origin` back with the answer.
  void copy(const protocol::RequestBody& body, Origin origin);

  const ShadowCounts& counts() const;
  std::size_t waiting() const;
  std::size_t in_flight() const;

 private:
  struct Shared;
  static net::Task<void> serve(std::shared_ptr<Shared> shared);

  std::shared_ptr<Shared> shared_;
};

}  // namespace moesaic::gateway
