// Making tokens, and every way to fail at it.
#include <fmt/format.h>

#include <algorithm>

#include "emulator/routed_experts.hpp"
#include "emulator/worker_turn.hpp"
#include "net/sse.hpp"

namespace moesaic::emulator {

using net::Header;
using net::Task;

namespace {

const std::vector<Header>& event_headers() {
  static const std::vector<Header> headers{{"Content-Type", "text/event-stream; charset=utf-8"},
                                           {"Cache-Control", "no-cache"}};
  return headers;
}

}  // namespace

const std::vector<Header>& json_headers() {
  static const std::vector<Header> headers{{"Content-Type", "application/json"}};
  return headers;
}

Task<void> Worker::misbehave(Turn& turn) {
  net::Exchange& exchange = turn.exchange;
  switch (turn.fault) {
    case Fault::kRefuse:
      co_await fail(turn, 503, "overloaded");
      co_return;
    case Fault::kError:
      co_await fail(turn, 500, "engine error");
      co_return;
    case Fault::kHang:
      co_await turn.wake.wait();
      ++stats_.aborted;
      break;
    case Fault::kReset:
      exchange.abort();
      break;
    case Fault::kGarbage:
      co_await exchange.write_raw("\x01\x02 this is no HTTP \r\n\r\n");
      exchange.abort();
      break;
    case Fault::kGarbageBody:
      co_await exchange.respond(200, json_headers(), "<html>not what you think</html>");
      break;
    case Fault::kOversizedHead: {
      const std::string line = "X-Long: " + std::string(8192, 'x') + "\r\n";
      bool sent = co_await exchange.write_raw("HTTP/1.1 200 OK\r\n");
      for (int i = 0; i < 4096 && sent && !turn.gone; ++i) sent = co_await exchange.write_raw(line);
      exchange.abort();
      break;
    }
    case Fault::kOversized: {
      exchange.start(200, json_headers(), std::nullopt);
      const std::string piece(1 << 16, ' ');
      bool sent = true;
      for (int i = 0; i < 8192 && sent && !turn.gone; ++i) sent = co_await exchange.write(piece);
      exchange.abort();
      break;
    }
    case Fault::kOversizedEvent: {
      exchange.start(200, event_headers(), std::nullopt);
      const std::string piece(1 << 16, 'x');
      bool sent = co_await exchange.write("data: {\"id\":\"");
      for (int i = 0; i < 8192 && sent && !turn.gone; ++i) sent = co_await exchange.write(piece);
      exchange.abort();
      break;
    }
    default:
      co_return;  // the others fail later
  }
  turn.outcome = Turn::Outcome::kBroken;
}

Json::Object Worker::add_experts(Turn& turn) const {
  using Form = WorkerConfig::RoutedExperts;
  const Form form = config_.routed_experts;
  if (form == Form::kNone || turn.ask.choices != 1 || (form == Form::kSglang && !turn.ask.wants_experts))
    return {};
  turn.ask.prompt_tokens = recording_->requests[turn.recorded].counted_tokens;
  if (form == Form::kVllm) {
    turn.ask.choice_experts = vllm_routed_experts(*recording_, turn.recorded, turn.ask.max_tokens);
    return {};
  }
  Json extension;
  extension["routed_experts"] = sglang_routed_experts(*recording_, turn.recorded, turn.ask.max_tokens);
  Json::Object extra;
  extra["sglext"] = std::move(extension);
  return extra;
}

Task<void> Worker::decode(Turn& turn) {
  ++stats_.decodes;
  note("decode", turn, turn.ask.max_tokens);
  Sequence sequence(loop_);
  sequence.recorded = turn.recorded;
  sequence.prompt_tokens = turn.ask.prompt_tokens;
  sequence.tokens = turn.ask.max_tokens;
  sequence.made = turn.given;
  if (turn.fault == Fault::kSlow) sequence.slowness = 10;
  if (config_.step == cost::StepTime{}) {
    sequence.made = sequence.tokens;  // an engine without a clock: for measuring what stands before it
    sequence.progress.set();
  } else {
    batch_.join(sequence);
  }
  turn.sequence = &sequence;
  struct Leave {
    Batch& batch;
    Turn& turn;
    ~Leave() {
      batch.leave(*turn.sequence);
      turn.sequence = nullptr;
    }
  };
  const Leave leave{batch_, turn};
  bool whole = false;
  if (turn.ask.stream) {
    whole = co_await stream_tokens(turn, sequence);
  } else {
    const std::uint32_t stop =
        turn.fault == Fault::kNone || turn.fault == Fault::kSlow ? sequence.tokens : sequence.tokens / 2;
    while (sequence.made < stop && !turn.gone) {
      sequence.progress.reset();
      co_await sequence.progress.wait();
    }
    if (turn.fault == Fault::kStall && !turn.gone) co_await turn.wake.wait();
    if (turn.fault == Fault::kResetDuring || turn.fault == Fault::kEndEarly) {
      const std::string answer = whole_answer(turn.ask);
      turn.exchange.start(200, json_headers(), answer.size());
      co_await turn.exchange.write(std::string_view(answer).substr(0, answer.size() / 2));
      turn.exchange.abort();
    } else if (!turn.gone) {
      Json::Object extra = add_experts(turn);
      const std::string answer = whole_answer(turn.ask, std::move(extra));
      whole = co_await turn.exchange.respond(200, json_headers(), answer);
    }
  }
  note(whole ? "finished" : "aborted", turn, sequence.made);
  ++(whole ? stats_.finished : stats_.aborted);
}

Task<bool> Worker::stream_tokens(Turn& turn, Sequence& sequence) {
  net::Exchange& exchange = turn.exchange;
  const Ask& ask = turn.ask;
  const bool fails =
      turn.fault == Fault::kResetDuring || turn.fault == Fault::kStall || turn.fault == Fault::kEndEarly;
  const std::uint32_t stop = fails ? std::max(1u, sequence.tokens / 2) : sequence.tokens;
  exchange.start(200, event_headers(), std::nullopt);
  std::uint32_t sent = turn.given;
  std::string piece;
  while (sent < stop) {
    while (sequence.made == sent && !turn.gone) {
      sequence.progress.reset();
      co_await sequence.progress.wait();
    }
    if (turn.gone) co_return false;
    piece.clear();
    // One event a token, as engines do.
    for (const std::uint32_t made = std::min(stop, sequence.made); sent < made; ++sent) {
      for (std::uint32_t choice = 0; choice < ask.choices; ++choice) {
        net::append_event(piece,
                          stream_chunk(ask, choice, sent, sent + 1, sent == 0, sent + 1 == sequence.tokens));
      }
    }
    if (fails && sent == stop) piece += "data: {\"id\":\"cut he";
    if (!co_await exchange.write(piece)) co_return false;
  }
  if (turn.fault == Fault::kStall) co_await turn.wake.wait();
  if (turn.fault == Fault::kEndEarly) {
    co_await exchange.finish();
    co_return false;
  }
  if (fails) {
    exchange.abort();
    co_return false;
  }
  piece.clear();
  if (ask.include_usage) net::append_event(piece, usage_chunk(ask));
  net::append_event(piece, "[DONE]");
  const bool whole = co_await exchange.finish(piece);
  co_return whole;
}

}  // namespace moesaic::emulator
