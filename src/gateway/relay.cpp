// A worker's answer on its way to the client.
#include <fmt/format.h>

#include <algorithm>

#include "gateway/flight.hpp"
#include "gateway/learning.hpp"
#include "net/sse.hpp"

namespace moesaic::gateway {

using net::CallFault;
using net::Task;

Task<void> Proxy::relay(Flight& flight, Leg& leg) {
  const net::HttpHead* head = co_await leg.call.head();
  if (head == nullptr) {
    co_await report_fault(flight, leg, to_string(leg.backend->spec.role));
    co_return;
  }
  if (head->status >= 500) state_.workers->failed(*leg.backend);
  const std::string* type = head->find("content-type");
  const bool events = head->status == 200 && type != nullptr && type->starts_with("text/event-stream");
  if (flight.exchange.started() && !events) {  // after an early first token only a stream can follow
    co_await refuse(flight, 502, fmt::format("the decode worker answered {} to a continuation", head->status),
                    Outcome::kBroken, "stream_broken");
    co_return;
  }
  flight.status = head->status;
  if (events) {
    co_await relay_events(flight, leg, *head);
  } else {
    co_await relay_whole(flight, leg, *head);
  }
  // Only now: a head is cheap for a worker whose every answer breaks.
  if (flight.status < 500 && flight.outcome == Outcome::kFinished) state_.workers->succeeded(*leg.backend);
}

Task<void> Proxy::answer(Flight& flight, const net::HttpHead& head, const std::string& body) {
  flight.status = head.status;
  const std::string& lines = answer_lines(head, flight.id);
  const bool sent = co_await flight.exchange.respond_lines(head.status, lines, body);
  flight.outcome = sent ? Outcome::kFinished : Outcome::kClientGone;
}

Task<void> Proxy::relay_whole(Flight& flight, Leg& leg, const net::HttpHead& head) {
  net::HttpCall& call = leg.call;
  std::string held;
  bool more = true;
  while (more && held.size() <= state_.config.max_held_bytes) {
    call.set_deadline(flight.until(state_.config.deadlines.between_bytes));
    more = co_await call.next(held);
  }
  if (call.fault() != CallFault::kNone) {  // nothing was sent yet: the client gets a clean error
    co_await report_fault(flight, leg, to_string(leg.backend->spec.role));
    co_return;
  }
  flight.first_byte = state_.loop.now();
  if (call.done()) {
    co_await answer(flight, head, held);
    if (state_.learning != nullptr && flight.status == 200)
      state_.learning->answer(flight.body, flight.id, held, Decoder{leg.backend->key, leg.rank});
    co_return;
  }
  flight.exchange.start_lines(flight.status, answer_lines(head, flight.id), head.content_length);
  bool sent = co_await flight.exchange.write(held);
  while (sent) {
    held.clear();
    call.set_deadline(flight.until(state_.config.deadlines.between_bytes));
    more = co_await call.next(held);
    if (!more) break;
    sent = co_await flight.exchange.write(held);
  }
  if (!sent || flight.gone) co_return;
  if (call.fault() == CallFault::kNone) {
    const bool finished = co_await flight.exchange.finish();
    flight.outcome = finished ? Outcome::kFinished : Outcome::kClientGone;
    co_return;
  }
  state_.workers->failed(*leg.backend);
  flight.outcome = Outcome::kBroken;
  flight.fault = net::to_string(call.fault());
  flight.exchange.abort();
}

void Proxy::count_stream(const Flight& flight, std::size_t events, Nanoseconds last) {
  const auto each = time_per_token(flight.first_byte.value_or(last), last, events, flight.body.include_usage,
                                   flight.body.choices);
  if (!each) return;
  state_.metrics.per_token.add(*each);
  state_.metrics.recent_per_token.add(last, *each);
}

Task<void> Proxy::relay_events(Flight& flight, Leg& leg, const net::HttpHead& head) {
  net::HttpCall& call = leg.call;
  net::SseSplitter splitter;
  std::string held, piece;
  bool too_large = false;
  bool placed = false;
  Nanoseconds last = flight.first_byte.value_or(Nanoseconds(0));
  if (!flight.exchange.started())
    flight.exchange.start_lines(flight.status, answer_lines(head, flight.id), std::nullopt);
  while (true) {
    piece.clear();
    call.set_deadline(flight.until(state_.config.deadlines.between_bytes));
    const bool more = co_await call.next(piece);
    if (!more) break;
    // Whole events only: what follows a broken one must still be readable.
    const std::size_t whole = splitter.feed(piece);
    if (whole == 0) {
      held += piece;
      too_large = held.size() > state_.config.max_event_bytes;
      if (too_large) break;
      continue;
    }
    std::string rest = piece.substr(whole);
    piece.resize(whole);
    if (!held.empty()) piece.insert(0, held);
    held = std::move(rest);
    const Nanoseconds now = state_.loop.now();
    if (!placed) state_.placer->first_token(flight.request, now);
    placed = true;
    if (!flight.first_byte) {
      flight.first_byte = now;
      state_.metrics.recent_first.add(now, now - flight.start);
    } else {
      state_.metrics.between_events.add(now - last);
    }
    last = now;
    if (call.done() && splitter.saw_done() && held.empty()) break;  // leaves with the end of the stream
    const bool sent = co_await flight.exchange.write(piece);
    piece.clear();
    if (!sent) co_return;
  }
  if (flight.gone) co_return;
  if (splitter.saw_done() && held.empty() && !too_large) {
    count_stream(flight, splitter.events() + (flight.early ? 1 : 0), last);
    const bool finished = co_await flight.exchange.finish(piece);
    flight.outcome = finished ? Outcome::kFinished : Outcome::kClientGone;
    co_return;
  }
  state_.workers->failed(*leg.backend);
  const bool late = call.fault() == CallFault::kDeadline;
  flight.fault = too_large                          ? "an event larger than allowed"
                 : call.fault() == CallFault::kNone ? "the stream ended before its last event"
                                                    : std::string(net::to_string(call.fault()));
  flight.outcome = Outcome::kBroken;
  std::string event;
  net::append_event(
      event, error_body(late ? 504 : 502, "the worker failed in the middle of its answer: " + flight.fault,
                        late ? "deadline" : "stream_broken"));
  if (!co_await flight.exchange.finish(event)) flight.outcome = Outcome::kClientGone;
}

}  // namespace moesaic::gateway
