// One client request on its way. For proxy.cpp, legs.cpp and relay.cpp alone.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "core/check.hpp"
#include "gateway/proxy.hpp"
#include "protocol/first_token.hpp"
#include "protocol/request_body.hpp"

namespace moesaic::gateway {

struct Flight {
  Flight(State& the_state, net::Exchange& the_exchange, protocol::Route the_route)
      : state(the_state), exchange(the_exchange), route(the_route), start(the_state.loop.now()) {
    ++state.in_flight;
  }
  ~Flight() {
    state.placer->finished(request, state.loop.now());
    state.placer->prefill_done(request, state.loop.now());
    --state.in_flight;
  }
  Flight(const Flight&) = delete;
  Flight& operator=(const Flight&) = delete;

  /// What a policy is asked about.
  routing::Request question() const {
    return {.id = request,
            .prompt_tokens = prompt_tokens,
            .expected_output_tokens =
                static_cast<std::uint32_t>(std::min<std::uint64_t>(body.output_limit(0), 1u << 30)),
            .counts = usage ? std::span<const float>(usage->counts) : std::span<const float>(),
            .counted_tokens = usage ? usage->tokens : 0,
            .probabilities = {},
            .domain = std::nullopt,
            .prefix_hash = prefix};
  }
  Nanoseconds until(Nanoseconds after_now) const { return std::min(deadline, state.loop.now() + after_now); }
  std::string_view path() const {
    return route == protocol::Route::kChat ? "/v1/chat/completions" : "/v1/completions";
  }

  State& state;
  net::Exchange& exchange;
  protocol::Route route;
  Nanoseconds start, deadline{0};
  std::string id;  ///< X-Request-Id
  routing::RequestId request{};
  protocol::RequestBody body{};
  std::uint32_t prompt_tokens = 1;  ///< an estimate: bytes / 4
  std::uint64_t prefix = 0;
  std::shared_ptr<const Usage> usage{};
  UsageSource source = UsageSource::kNone;
  bool early = false;                    ///< the prefiller gives the first token
  bool gone = false;                     ///< the client went away
  std::array<net::HttpCall*, 2> live{};  ///< to be cancelled when it does

  // What is told of it afterwards.
  std::string worker{}, prefiller{};
  std::uint32_t rank = 0;
  std::optional<std::uint32_t> home{};
  routing::Reason reason = routing::Reason::kNoWorker;
  int status = 0;
  Outcome outcome = Outcome::kClientGone;
  std::string fault{};
  std::optional<Nanoseconds> first_byte{};
  std::optional<routing::Locality> locality{};
};

/// A call to a chosen worker, counted with it and cancelled with the client. Stays where it is made.
struct Leg {
  Leg(Flight& the_flight, std::shared_ptr<Backend> the_backend, std::uint32_t the_rank,
      net::HttpCall the_call)
      : flight(the_flight), backend(std::move(the_backend)), rank(the_rank), call(std::move(the_call)) {
    ++backend->in_flight;
    ++backend->requests;
    const auto place = std::find(flight.live.begin(), flight.live.end(), nullptr);
    MOESAIC_CHECK(place != flight.live.end());
    *place = &call;
  }
  ~Leg() {
    --backend->in_flight;
    std::replace(flight.live.begin(), flight.live.end(), &call, static_cast<net::HttpCall*>(nullptr));
  }
  Leg(const Leg&) = delete;
  Leg& operator=(const Leg&) = delete;

  Flight& flight;
  std::shared_ptr<Backend> backend;
  std::uint32_t rank;
  net::HttpCall call;
};

}  // namespace moesaic::gateway
