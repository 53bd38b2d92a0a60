#include "gateway/proxy.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <random>

#include "core/random.hpp"
#include "gateway/flight.hpp"
#include "gateway/learning.hpp"
#include "net/sse.hpp"

namespace moesaic::gateway {

using net::Header;
using net::Task;
using protocol::Handoff;

namespace {

/// What a client may choose as an id that goes into logs and to engines.
bool is_sane_id(std::string_view id) {
  return !id.empty() && id.size() <= 128 && std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
           c == '_' || c == '.' || c == ':';
  });
}

/// "000102...ff".
constexpr auto kHexPairs = [] {
  std::array<char, 512> pairs{};
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    pairs[i] = "0123456789abcdef"[i % 2 == 0 ? i / 32 : i / 2 % 16];
  }
  return pairs;
}();

std::uint64_t random_start() {
  std::random_device device;
  return std::uint64_t{device()} << 32 | device();
}

}  // namespace

Proxy::Proxy(State& state) : state_(state), process_(random_start()) {}

std::string Proxy::mint_id() {
  const std::array halves{process_, splitmix64(process_ ^ ++minted_)};
  std::string id(32, '0');
  for (std::size_t i = 0; i < id.size() / 2; ++i) {
    const std::uint64_t byte = halves[i / 8] >> (56 - i % 8 * 8) & 0xFF;
    id[2 * i] = kHexPairs[2 * byte];
    id[2 * i + 1] = kHexPairs[2 * byte + 1];
  }
  return id;
}

std::string error_body(int status, std::string_view message, std::string_view code) {
  Json json;
  json["error"]["message"] = message;
  json["error"]["type"] = status == 401   ? "authentication_error"
                          : status == 429 ? "rate_limit_error"
                          : status < 500  ? "invalid_request_error"
                                          : "server_error";
  json["error"]["param"] = Json();
  json["error"]["code"] = code.empty() ? Json() : Json(code);
  return json.dump();
}

const std::string& Proxy::answer_lines(const net::HttpHead& head, const std::string& request_id) {
  std::string& lines = lines_;
  lines.clear();
  for (const Header& header : head.headers) {
    if (net::is_hop_by_hop(header.name) || net::same_name(header.name, "x-request-id")) continue;
    net::append_header(lines, header.name, header.value);
  }
  net::append_header(lines, "X-Request-Id", request_id);
  return lines;
}

Task<void> Proxy::refuse(Flight& flight, int status, std::string message, Outcome outcome,
                         std::string_view code) {
  if (flight.gone) co_return;
  if (flight.exchange.started()) {  // the first token has left: a stream can only be broken off with notice
    flight.outcome = Outcome::kBroken;
    flight.fault = message;
    std::string event;
    net::append_event(event, error_body(status, message, code));
    if (!co_await flight.exchange.finish(event)) flight.outcome = Outcome::kClientGone;
    co_return;
  }
  flight.status = status;
  flight.outcome = outcome;
  flight.fault = message;
  std::vector<Header> headers{{"Content-Type", "application/json"}, {"X-Request-Id", flight.id}};
  if (status == 429 || status == 503) headers.push_back({"Retry-After", "1"});
  if (status == 401) headers.push_back({"WWW-Authenticate", "Bearer"});
  const std::string body = error_body(status, message, code);
  if (!co_await flight.exchange.respond(status, headers, body)) flight.outcome = Outcome::kClientGone;
}

void Proxy::identify(Flight& flight) {
  const std::string* id = flight.exchange.head().find("x-request-id");
  if (id != nullptr && is_sane_id(*id)) {
    flight.id = *id;
  } else {
    flight.id = mint_id();
  }
  flight.request = routing::RequestId{++requests_};
  flight.deadline = flight.start + state_.config.deadlines.total;
}

Task<void> Proxy::completion(net::Exchange& exchange, protocol::Route route) {
  Flight flight(state_, exchange, route);
  identify(flight);
  exchange.on_client_gone([&flight] {
    flight.gone = true;
    for (net::HttpCall* call : flight.live) {
      if (call != nullptr) call->cancel();
    }
  });
  co_await run(flight);
  account(flight);
}

Task<void> Proxy::run(Flight& flight) {
  const Config& config = state_.config;
  if (!state_.keys.allow(flight.exchange.head().find("authorization"))) {
    co_await refuse(flight, 401, "expected a valid API key in the header Authorization: Bearer ...",
                    Outcome::kRefused, "invalid_api_key");
    co_return;
  }
  if (state_.draining) {
    flight.exchange.close_after();
    co_await refuse(flight, 503, "this gateway is shutting down: try another", Outcome::kRefused);
    co_return;
  }
  if (state_.in_flight > config.max_in_flight) {
    co_await refuse(flight, 429,
                    fmt::format("{} requests are in flight: try again later", config.max_in_flight),
                    Outcome::kRefused, "too_many_requests");
    co_return;
  }
  Result<protocol::RequestBody> body = reader_.read(flight.exchange.body(), flight.route);
  if (!body) {
    co_await refuse(flight, 400, body.error().message, Outcome::kRefused);
    co_return;
  }
  flight.body = std::move(*body);
  if (config.refuse_reserved && !flight.body.reserved.empty()) {
    co_await refuse(flight, 400,
                    fmt::format("field \"{}\": expected it to be absent: the gateway sets it itself",
                                flight.body.reserved.front()),
                    Outcome::kRefused);
    co_return;
  }
  flight.prompt_tokens =
      static_cast<std::uint32_t>(std::min<std::size_t>(flight.body.prompt.size() / 4 + 1, 1u << 30));
  if (state_.learning != nullptr) state_.learning->request(flight.body, flight.id);
  const bool splits = config.handoff != Handoff::kNone;
  if (splits) flight.prefix = prefix_hash(flight.body.prompt, config.cache_block_bytes);
  if (!splits || !protocol::can_be_split(flight.body)) {
    if (config.handoff == Handoff::kSglang) {
      co_await refuse(flight, 400,
                      "field \"n\": expected 1: several choices cannot be handed over between engines",
                      Outcome::kRefused);
      co_return;
    }
    co_await plain(flight);
  } else if (config.handoff == Handoff::kSglang) {
    co_await concurrent(flight);
  } else {
    co_await sequential(flight);
  }
}

void Proxy::account(Flight& flight) {
  Metrics& metrics = state_.metrics;
  if (flight.gone) flight.outcome = Outcome::kClientGone;
  ++metrics.outcomes[static_cast<std::size_t>(flight.outcome)];
  const Nanoseconds now = state_.loop.now();
  metrics.total.add(now - flight.start);
  if (flight.first_byte) metrics.first_byte.add(*flight.first_byte - flight.start);
  if (!flight.worker.empty()) {
    std::string what(to_string(flight.reason));
    what += ',';
    what += to_string(flight.source);
    ++metrics.decisions[std::move(what)];
  }
  if (!state_.log.enabled()) return;
  const auto ms = [](Nanoseconds duration) {
    return static_cast<double>(duration / std::chrono::microseconds(1)) / 1000;
  };
  Json line;
  line["request_id"] = flight.id;
  if (const std::string* trace = flight.exchange.head().find("traceparent")) line["traceparent"] = *trace;
  line["path"] = flight.path();
  line["status"] = flight.status;
  line["outcome"] = to_string(flight.outcome);
  if (!flight.fault.empty()) line["fault"] = flight.fault;
  if (!flight.worker.empty()) {
    line["worker"] = flight.worker;
    if (flight.home) line["home"] = *flight.home;
    line["reason"] = to_string(flight.reason);
    line["usage"] = to_string(flight.source);
    if (flight.locality) line["experts_shared"] = flight.locality->here;
  }
  if (!flight.prefiller.empty()) line["prefiller"] = flight.prefiller;
  line["prompt_bytes"] = flight.body.prompt.size();
  line["stream"] = flight.body.stream;
  if (flight.first_byte) line["first_byte_ms"] = ms(*flight.first_byte - flight.start);
  line["total_ms"] = ms(now - flight.start);
  state_.log.write(flight.outcome == Outcome::kFinished ? "info" : "warning", "request", std::move(line));
}

Task<void> Proxy::models(net::Exchange& exchange) {
  static const std::vector<Header> kJson{{"Content-Type", "application/json"}};
  if (!state_.keys.allow(exchange.head().find("authorization"))) {
    co_await exchange.respond(401, kJson, error_body(401, "expected a valid API key", "invalid_api_key"));
    co_return;
  }
  const auto all = state_.workers->all();
  for (const auto& backend : all) {
    if (!backend->state.routable(state_.loop.now())) continue;
    const Result<net::HttpAnswer> answer = co_await net::fetch(
        state_.loop, *backend->pool, "GET", "/v1/models", {}, "", std::chrono::seconds(5), 4u << 20);
    if (!answer || answer->head.status != 200) continue;
    co_await exchange.respond(200, kJson, answer->body);
    co_return;
  }
  co_await exchange.respond(503, kJson, error_body(503, "no worker can be reached"));
}

}  // namespace moesaic::gateway
