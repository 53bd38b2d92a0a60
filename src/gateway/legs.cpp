// The calls to workers: choosing, reaching, sending, and the order of the protocols.
#include <fmt/format.h>

#include <random>

#include "core/random.hpp"
#include "gateway/flight.hpp"
#include "gateway/known_experts.hpp"
#include "gateway/learning.hpp"
#include "gateway/usage.hpp"
#include "net/sse.hpp"
#include "protocol/first_token.hpp"
#include "protocol/handoff.hpp"

namespace moesaic::gateway {

using net::CallFault;
using net::Header;
using net::Task;
using protocol::Handoff;
using protocol::LegBody;

namespace {

/// What the worker gets of the client's headers, and what only the gateway says.
void worker_lines(const Flight& flight, const Backend& backend, std::uint32_t rank, std::string& lines) {
  const net::HttpHead& head = flight.exchange.head();
  lines.clear();
  for (const Header& header : head.headers) {
    const auto is = [&](std::string_view name) { return net::same_name(header.name, name); };
    if (net::is_hop_by_hop(header.name) || is("x-request-id") || is("x-data-parallel-rank") ||
        is("x-smg-routing-key") || is("accept-encoding")) {
      continue;
    }
    // A key for this gateway is nothing that an engine should see.
    if (is("authorization") && !flight.state.config.keys_file.empty()) continue;
    net::append_header(lines, header.name, header.value);
  }
  net::append_header(lines, "X-Request-Id", flight.id);
  if (backend.spec.role == Role::kPrefill) return;
  if (backend.spec.ranks > 1 && backend.spec.rank_by == RankBy::kHeader)
    net::append_header(lines, "X-data-parallel-rank", std::to_string(rank));
  if (flight.home) {
    net::append_header(lines, "X-SMG-Routing-Key", fmt::format("home-{}", *flight.home));
  } else if (backend.spec.ranks > 1) {
    net::append_header(lines, "X-SMG-Routing-Key", fmt::format("{}-{}", backend.spec.name, rank));
  }
}

void note_decision(Placer& placer, const Flight& flight, Nanoseconds now) {
  DecisionRecord& record = placer.remember();
  record.at = now;
  record.request = flight.id;
  record.worker = flight.worker;
  record.prefiller = flight.prefiller;
  record.rank = flight.rank;
  record.home = flight.home;
  record.reason = flight.reason;
  record.source = flight.source;
  record.locality = flight.locality;
}

std::optional<std::uint32_t> body_rank(const Leg& leg) {
  if (leg.backend->spec.ranks > 1 && leg.backend->spec.rank_by == RankBy::kBody) return leg.rank;
  return std::nullopt;
}

}  // namespace

Task<bool> Proxy::open_leg(Flight& flight, Role role, std::optional<Leg>& out) {
  const std::size_t attempts = state_.config.connect_attempts;
  for (std::size_t attempt = 0; attempt < attempts; ++attempt) {
    const routing::Request question = flight.question();
    const Nanoseconds now = state_.loop.now();
    const std::optional<Choice> choice = role == Role::kPrefill ? state_.placer->choose_prefill(question, now)
                                                                : state_.placer->choose_decode(question, now);
    const std::shared_ptr<Backend> backend = choice ? state_.workers->find(choice->worker) : nullptr;
    if (backend == nullptr) {
      co_await refuse(flight, 503, fmt::format("no {} worker is up: try again later", to_string(role)),
                      attempt == 0 ? Outcome::kRefused : Outcome::kUnreachable, "no_worker");
      co_return false;
    }
    if (role == Role::kPrefill) {
      flight.prefiller = backend->spec.name;
    } else {
      flight.worker = backend->spec.name;
      flight.rank = choice->rank;
      flight.home = choice->home;
      flight.reason = choice->reason;
      flight.locality = choice->locality;
    }
    std::optional<net::HttpCall> call = backend->pool->take();
    if (!call) {
      Result<net::HttpCall> opened = co_await backend->pool->open();
      if (flight.gone) co_return false;
      if (opened) {
        call.emplace(std::move(*opened));
      } else {
        flight.fault = opened.error().message;
      }
    }
    if (call) {
      if (role != Role::kPrefill) note_decision(*state_.placer, flight, now);
      out.emplace(flight, backend, choice->rank, std::move(*call));
      co_return true;
    }
    // Nothing was sent: another worker may have it.
    ++state_.metrics.connect_retries;
    state_.workers->unreachable(*backend);
    if (state_.loop.now() >= flight.deadline) break;
  }
  co_await refuse(flight, 502, "no worker could be reached", Outcome::kUnreachable, "unreachable");
  co_return false;
}

Task<bool> Proxy::send(Leg& leg, const LegBody& body) {
  worker_lines(leg.flight, *leg.backend, leg.rank, lines_);
  return leg.call.send_lines("POST", leg.flight.path(), lines_, body.pieces());
}

Task<void> Proxy::report_fault(Flight& flight, Leg& leg, std::string_view which) {
  if (flight.gone) co_return;
  state_.workers->failed(*leg.backend);
  const bool late = leg.call.fault() == CallFault::kDeadline;
  co_await refuse(flight, late ? 504 : 502,
                  fmt::format("the {} worker failed: {}", which, net::to_string(leg.call.fault())),
                  late ? Outcome::kDeadline : Outcome::kUpstreamError, late ? "deadline" : "upstream_error");
}

void Proxy::recall_usage(Flight& flight) {
  flight.usage = state_.cache.find(flight.body.prompt);
  flight.source = UsageSource::kPrefixCache;
  if (flight.usage) return;
  if (state_.prompts) flight.usage = state_.prompts->of(flight.body.prompt);
  flight.source = flight.usage ? UsageSource::kPromptModel : UsageSource::kNone;
}

Task<void> Proxy::plain(Flight& flight) {
  recall_usage(flight);
  const Role role = state_.config.handoff == Handoff::kNone ? Role::kPlain : Role::kDecode;
  std::optional<Leg> leg;
  const bool opened = co_await open_leg(flight, role, leg);
  if (!opened) co_return;
  leg->call.set_deadline(flight.until(state_.config.deadlines.first_byte));
  const LegBody body = protocol::plain_body(flight.body, body_rank(*leg));
  co_await send(*leg, body);
  co_await relay(flight, *leg);
}

void Proxy::learn_usage(Flight& flight, const std::string& signature, const std::string& reply) {
  std::optional<Usage> usage = usage_of_eldr_signature(signature, state_.usage, flight.prompt_tokens);
  flight.source = UsageSource::kEldrSignature;
  if (!usage) {
    const std::optional<KnownExperts> known =
        state_.shape ? experts_of_reply(reply, *state_.shape) : std::nullopt;
    if (known) usage = prefill_usage(*known, *state_.shape);
    flight.source = UsageSource::kRoutedExperts;
  }
  if (usage) {
    flight.usage = std::make_shared<const Usage>(std::move(*usage));
    state_.cache.insert(flight.body.prompt, flight.usage);
    if (state_.learning != nullptr && flight.source == UsageSource::kRoutedExperts) {
      state_.learning->answer(flight.body, flight.id, reply, std::nullopt);
    } else if (state_.learning != nullptr) {
      state_.learning->counted(flight.id, flight.usage);
    }
    return;
  }
  recall_usage(flight);
}

/// What came of a prefill.
struct Proxy::Prefilled {
  std::shared_ptr<Backend> backend{};
  std::string reply{}, parameters{};
  protocol::FirstToken first{};
};

Task<bool> Proxy::prefill(Flight& flight, const std::string& transfer_id, Prefilled& out) {
  const Nanoseconds began = state_.loop.now();
  std::optional<Leg> leg;
  const bool opened = co_await open_leg(flight, Role::kPrefill, leg);
  if (!opened) co_return false;
  out.backend = leg->backend;
  leg->call.set_deadline(flight.until(state_.config.deadlines.prefill));
  const LegBody body = flight.early ? protocol::first_token_body(flight.body, transfer_id)
                                    : protocol::prefill_body(flight.body, state_.config.handoff, transfer_id);
  co_await send(*leg, body);
  const net::HttpHead* head = co_await leg->call.head();
  std::string& reply = out.reply;
  bool whole = false;
  if (head != nullptr) whole = co_await leg->call.all(reply, state_.config.client.parse.body_bytes);
  state_.placer->prefill_done(flight.request, state_.loop.now());
  if (!whole) {
    co_await report_fault(flight, *leg, "prefill");
    co_return false;
  }
  state_.metrics.prefill.add(state_.loop.now() - began);
  if (head->status != 200) {  // the engine's own refusal is the answer
    if (head->status >= 500) state_.workers->failed(*leg->backend);
    co_await answer(flight, *head, reply);
    co_return false;
  }
  const Result<protocol::PrefillReply> read = protocol::read_prefill_reply(reply);
  if (!read || (read->kv_transfer_params.empty() && state_.config.handoff != Handoff::kMooncake)) {
    state_.workers->failed(*leg->backend);
    // Named: GCC 12 destroys a conditional's temporaries twice when they are arguments of an awaited call.
    std::string message = "the prefill worker answered without kv_transfer_params: is its KV connector on?";
    if (!read) message = read.error().message;
    co_await refuse(flight, 502, message, Outcome::kUpstreamError, "upstream_error");
    co_return false;
  }
  state_.workers->succeeded(*leg->backend);
  learn_usage(flight, read->eldr_signature, reply);
  out.parameters = read->kv_transfer_params;
  co_return true;
}

/// False: the request has come to its end.
Task<bool> Proxy::give_first_token(Flight& flight, Prefilled& prefilled) {
  Result<protocol::FirstToken> read = protocol::read_first_token(prefilled.reply);
  if (!read) {
    state_.workers->failed(*prefilled.backend);
    co_await refuse(flight, 502, read.error().message, Outcome::kUpstreamError, "upstream_error");
    co_return false;
  }
  prefilled.first = std::move(*read);
  const protocol::FirstToken& first = prefilled.first;
  std::string lines, piece;
  net::append_header(lines, "Content-Type", "text/event-stream; charset=utf-8");
  net::append_header(lines, "X-Request-Id", flight.id);
  net::append_event(piece, first.event);
  if (!first.continues && flight.body.include_usage) net::append_event(piece, first.usage_event);
  if (!first.continues) net::append_event(piece, "[DONE]");
  const Nanoseconds now = state_.loop.now();
  flight.status = 200;
  flight.first_byte = now;
  state_.metrics.recent_first.add(now, now - flight.start);
  flight.exchange.start_lines(200, lines, std::nullopt);
  bool sent = false;
  if (first.continues) {
    sent = co_await flight.exchange.write(piece);
  } else {
    sent = co_await flight.exchange.finish(piece);
    flight.outcome = sent ? Outcome::kFinished : Outcome::kClientGone;
  }
  co_return sent&& first.continues && !flight.gone;
}

void Proxy::give_up(const Flight& flight, HandoffLedger::Id handoff, const std::string& parameters) {
  // ELDR's decoders free what a prefiller keeps; another one than what has just failed.
  std::shared_ptr<Backend> decoder;
  for (const auto& backend : state_.workers->all()) {
    if (backend->spec.role != Role::kDecode || !backend->state.routable(state_.loop.now())) continue;
    if (!decoder || decoder->spec.name == flight.worker) decoder = backend;
  }
  if (state_.config.handoff != Handoff::kEldr || !decoder) {
    state_.ledger.given_up(handoff, false);  // expires with the engine
    return;
  }
  const auto release = [](State& state, HandoffLedger::Id id, std::shared_ptr<Backend> backend,
                          std::string body) -> Task<void> {
    const std::vector<Header> headers{{"Content-Type", "application/json"}};
    const Result<net::HttpAnswer> answer =
        co_await net::fetch(state.loop, *backend->pool, "POST", "/v1/kv_transfer/release", headers,
                            std::move(body), std::chrono::seconds(5), 1 << 20);
    state.ledger.given_up(id, answer && answer->head.status == 200);
  };
  state_.loop.spawn(release(state_, handoff, std::move(decoder), parameters));
}

Task<void> Proxy::sequential(Flight& flight) {
  // Not the client's X-Request-Id: who repeats another's would name another's prompt.
  const std::string transfer_id = "xfer-" + mint_id();
  flight.early = state_.config.handoff == Handoff::kEldr && state_.config.early_first_token &&
                 protocol::can_give_first_token(flight.body);
  Prefilled prefilled;
  const bool good = co_await prefill(flight, transfer_id, prefilled);
  if (!good) co_return;
  const HandoffLedger::Id handoff = state_.ledger.open();
  bool taken = false, goes_on = !flight.gone;
  if (goes_on && flight.early) goes_on = co_await give_first_token(flight, prefilled);
  if (goes_on) {
    std::optional<Leg> leg;
    const bool opened = co_await open_leg(flight, Role::kDecode, leg);
    if (opened) {
      leg->call.set_deadline(flight.until(state_.config.deadlines.first_byte));
      const LegBody body =
          state_.config.handoff == Handoff::kMooncake
              ? protocol::mooncake_decode_body(
                    flight.body, transfer_id,
                    {prefilled.backend->spec.engine_id, prefilled.backend->spec.bootstrap_address},
                    body_rank(*leg))
          : flight.early
              ? protocol::continue_body(flight.body, prefilled.first, prefilled.parameters, body_rank(*leg))
              : protocol::decode_body(flight.body, prefilled.parameters, body_rank(*leg));
      co_await send(*leg, body);
      const net::HttpHead* head = co_await leg->call.head();
      taken = head != nullptr && head->status == 200;
      if (taken) state_.ledger.taken(handoff);
      co_await relay(flight, *leg);
    }
  }
  if (!taken) give_up(flight, handoff, prefilled.parameters);
}

namespace {

/// The prefiller's side of an SGLang pair: its answer is read and dropped, its failure ends the decode.
struct Side {
  explicit Side(net::Loop& loop) : over(loop) {}
  bool failed = false;
  std::string message;
  std::string refusal;  ///< its answer, when it is to blame the request (status below 500)
  net::Event over;
};

Task<void> run_side(State& state, Leg& prefill, Leg& decode, Side& side) {
  const net::HttpHead* head = co_await prefill.call.head();
  std::string reply;
  bool whole = false;
  if (head != nullptr) whole = co_await prefill.call.all(reply, state.config.client.parse.body_bytes);
  state.placer->prefill_done(prefill.flight.request, state.loop.now());
  if (!whole || head->status != 200) {
    side.failed = true;
    side.message = whole ? fmt::format("it answered {}", head->status)
                         : std::string(net::to_string(prefill.call.fault()));
    if (whole && head->status < 500) {
      side.refusal = std::move(reply);
    } else if (prefill.call.fault() != CallFault::kCancelled) {
      state.workers->failed(*prefill.backend);
    }
    if (!decode.call.answered()) decode.call.cancel();
  } else {
    state.workers->succeeded(*prefill.backend);
  }
  side.over.set();
}

std::uint64_t random_room() {
  static thread_local std::mt19937_64 generator{std::random_device{}()};
  return generator() >> 1;
}

}  // namespace

Task<void> Proxy::concurrent(Flight& flight) {
  recall_usage(flight);
  std::optional<Leg> prefill;
  const bool prefill_opened = co_await open_leg(flight, Role::kPrefill, prefill);
  if (!prefill_opened) co_return;
  std::optional<Leg> decode;
  const bool decode_opened = co_await open_leg(flight, Role::kDecode, decode);
  if (!decode_opened) co_return;
  const protocol::BootstrapRoom room{prefill->backend->spec.host, prefill->backend->spec.bootstrap_port,
                                     random_room()};
  const LegBody prefill_body = protocol::sglang_body(flight.body, room);
  const LegBody decode_body = protocol::sglang_body(flight.body, room, body_rank(*decode));
  prefill->call.set_deadline(flight.until(state_.config.deadlines.prefill));
  decode->call.set_deadline(flight.until(state_.config.deadlines.first_byte));
  co_await send(*prefill, prefill_body);
  co_await send(*decode, decode_body);
  Side side(state_.loop);
  state_.loop.spawn(run_side(state_, *prefill, *decode, side));
  const net::HttpHead* head = co_await decode->call.head();
  if (head == nullptr && !side.refusal.empty() && !flight.gone) {
    const net::HttpHead* refusal = co_await prefill->call.head();  // it has come: this does not wait
    co_await answer(flight, *refusal, side.refusal);
  } else if (head == nullptr && side.failed && !flight.gone) {
    co_await refuse(flight, 502, "the prefill worker failed: " + side.message, Outcome::kUpstreamError,
                    "upstream_error");
  } else {
    co_await relay(flight, *decode);
  }
  prefill->call.cancel();
  co_await side.over.wait();
}

}  // namespace moesaic::gateway
