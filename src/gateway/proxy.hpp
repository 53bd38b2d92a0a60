// The data path: a client's request to the workers and the answer back. docs/gateway.md says what each
// protocol does; in short:
//
//   plain       one call, relayed
//   sequential  prefill call -> its reply's handoff and usage -> decode policy -> decode call, relayed
//   sglang      both calls at once, the decoder's answer relayed
//
// A worker that cannot be reached is replaced by another while nothing was sent. Once a request was sent it
// is never sent again: no second generation. A stream that breaks ends with an error event.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "gateway/state.hpp"
#include "net/http_server.hpp"
#include "protocol/request_body.hpp"

namespace moesaic::gateway {

struct Flight;
struct Leg;

class Proxy {
 public:
  explicit Proxy(State& state);

  net::Task<void> completion(net::Exchange& exchange, protocol::Route route);
  /// GET /v1/models, from any worker that answers.
  net::Task<void> models(net::Exchange& exchange);

 private:
  // proxy.cpp
  net::Task<void> run(Flight& flight);
  void identify(Flight& flight);
  /// Differs between gateways and calls.
  std::string mint_id();
  net::Task<void> refuse(Flight& flight, int status, std::string message, Outcome outcome,
                         std::string_view code = "");
  void account(Flight& flight);
  // legs.cpp
  net::Task<void> plain(Flight& flight);
  net::Task<void> sequential(Flight& flight);
  net::Task<void> concurrent(Flight& flight);
  /// False: the client was told that there is no worker.
  net::Task<bool> open_leg(Flight& flight, Role role, std::optional<Leg>& out);
  net::Task<bool> send(Leg& leg, const protocol::LegBody& body);
  net::Task<void> report_fault(Flight& flight, Leg& leg, std::string_view which);
  struct Prefilled;
  net::Task<bool> prefill(Flight& flight, const std::string& transfer_id, Prefilled& out);
  net::Task<bool> give_first_token(Flight& flight, Prefilled& prefilled);
  void recall_usage(Flight& flight);
  void learn_usage(Flight& flight, const std::string& signature, const std::string& reply);
  void give_up(const Flight& flight, HandoffLedger::Id handoff, const std::string& parameters);
  // relay.cpp
  /// Headers of the answer that the client gets, as net::header_lines() gives them; until the next call.
  const std::string& answer_lines(const net::HttpHead& head, const std::string& request_id);
  net::Task<void> answer(Flight& flight, const net::HttpHead& head, const std::string& body);
  net::Task<void> relay(Flight& flight, Leg& leg);
  net::Task<void> relay_whole(Flight& flight, Leg& leg, const net::HttpHead& head);
  net::Task<void> relay_events(Flight& flight, Leg& leg, const net::HttpHead& head);
  void count_stream(const Flight& flight, std::size_t events, Nanoseconds last);

  State& state_;
  protocol::RequestReader reader_;
  const std::uint64_t process_;  ///< differs between gateways
  std::uint64_t requests_ = 0, minted_ = 0;
  std::string lines_;  ///< of the head that is being written
};

}  // namespace moesaic::gateway
