#include "emulator/worker.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "emulator/worker_turn.hpp"
#include "io/json.hpp"

namespace moesaic::emulator {

using net::Exchange;
using net::Header;
using net::Task;
using protocol::Handoff;
using protocol::Route;

Worker::Worker(net::Loop& loop, WorkerConfig config, const simulate::Recording* recording)
    : loop_(loop),
      config_(std::move(config)),
      recording_(recording),
      recorder_(recording == nullptr ? std::nullopt : std::optional<Recorder>(recording->shape)),
      batch_(loop, config_, recording, recorder_ ? &*recorder_ : nullptr),
      handoffs_(config_.handoff_lifetime) {}
Worker::~Worker() = default;

Result<std::unique_ptr<Worker>> Worker::start(net::Loop& loop, WorkerConfig config,
                                              const simulate::Recording* recording) {
  MOESAIC_ASSIGN(net::Listener listener, net::Listener::open(loop, config.address, config.port));
  std::unique_ptr<Worker> worker(new Worker(loop, std::move(config), recording));
  const std::string& log = worker->config_.log_file;
  if (!log.empty()) {
    worker->log_.reset(std::fopen(log.c_str(), "ae"));
    if (!worker->log_) return environment_error(fmt::format("{}: cannot be appended to", log));
    std::setvbuf(worker->log_.get(), nullptr, _IOLBF, 1 << 14);  // who is killed has told what it did
  }
  if (!worker->config_.certificate.empty()) {
    MOESAIC_ASSIGN(worker->tls_, net::TlsContext::server(worker->config_.certificate, worker->config_.key));
  }
  worker->server_ = std::make_unique<net::HttpServer>(
      loop, std::move(listener), worker->limits_, worker->tls_ ? &*worker->tls_ : nullptr,
      [self = worker.get()](Exchange& exchange) { return self->handle(exchange); },
      [](int status, const std::string& message) { return error_answer(status, message); });
  worker->server_->start();
  return worker;
}

void Worker::set_fault(Fault fault, std::uint64_t count) {
  fault_ = fault;
  faults_left_ = count;
}

void Worker::note(std::string_view event, const Turn& turn, std::uint32_t tokens) {
  if (!log_) return;
  Json line;
  line["event"] = event;
  line["request_id"] = turn.id;
  line["tokens"] = tokens;
  const std::string text = line.dump() + "\n";
  std::fwrite(text.data(), 1, text.size(), log_.get());
}

Fault Worker::next_fault(const net::HttpHead& head) {
  if (faults_left_ > 0) {
    --faults_left_;
    return fault_;
  }
  const std::string* wish = config_.obey_faults ? head.find("x-emulator-fault") : nullptr;
  if (wish == nullptr) return Fault::kNone;
  std::string_view kind = *wish;
  if (const std::size_t colon = kind.find(':'); colon != std::string_view::npos) {
    if (kind.substr(0, colon) != to_string(config_.role)) return Fault::kNone;
    kind.remove_prefix(colon + 1);
  }
  return fault_of(kind).value_or(Fault::kNone);
}

Task<void> Worker::handle(Exchange& exchange) {
  const std::string_view path = net::path_of(exchange.head().target);
  const std::string& method = exchange.head().method;
  static const std::vector<Header> kJson{{"Content-Type", "application/json"}};
  static const std::vector<Header> kText{{"Content-Type", "text/plain; version=0.0.4"}};
  if (method == "POST" && path == "/v1/completions") {
    co_await generate(exchange, Route::kCompletions);
  } else if (method == "POST" && path == "/v1/chat/completions") {
    co_await generate(exchange, Route::kChat);
  } else if (method == "POST" && path == "/emulator/take") {
    co_await give_handoff(exchange);
  } else if (method == "POST" && path == "/v1/kv_transfer/release") {
    co_await release(exchange);
  } else if (method == "POST" && path == "/emulator/release") {
    const auto json = io::parse_json(exchange.body(), "the body");
    const Json* id = json ? json->find("key") : nullptr;
    const bool released = id != nullptr && id->is_string() && handoffs_.release(*id->as_string());
    std::string body = "{}";
    if (!released) body = error_answer(404, "no such handoff");
    co_await exchange.respond(released ? 200 : 404, kJson, body);
  } else if (method == "POST" && path == "/emulator/faults" && config_.obey_faults) {
    const auto json = io::parse_json(exchange.body(), "the body");
    const Json* kind = json ? json->find("kind") : nullptr;
    const auto fault = kind != nullptr && kind->is_string() ? fault_of(*kind->as_string()) : std::nullopt;
    std::uint64_t count = 1;
    if (const Json* times = json ? json->find("count") : nullptr) static_cast<void>(times->to_uint(count));
    if (fault) set_fault(*fault, count);
    std::string body = "{}";
    if (!fault) body = error_answer(400, "unknown fault");
    co_await exchange.respond(fault ? 200 : 400, kJson, body);
  } else if (path.ends_with("_expert_distribution_record") && (method == "GET" || method == "POST")) {
    co_await record(exchange, path.substr(1, path.find('_') - 1));
  } else if (path == "/health" || path == "/health_generate") {
    co_await exchange.respond(unhealthy_ ? 503 : 200, kJson, "");
  } else if (path == "/metrics") {
    co_await exchange.respond(200, kText, metrics());
  } else if (path == "/v1/models") {
    Json entry;
    entry["id"] = config_.model;
    entry["object"] = "model";
    entry["owned_by"] = "moesaic";
    entry["created"] = 1'700'000'000;
    Json list;
    list["object"] = "list";
    list["data"].push_back(std::move(entry));
    co_await exchange.respond(200, kJson, list.dump());
  } else {
    co_await exchange.respond(404, kJson, error_answer(404, "no such route"));
  }
}

/// As engines do: what can never fit the cache would wait for ever, and everybody behind it.
Status Worker::check_fits(const Ask& ask) const {
  const std::int64_t tokens = std::int64_t{ask.prompt_tokens} + ask.max_tokens;
  if (config_.kv_tokens == 0 || tokens <= config_.kv_tokens) return {};
  return bad_input(
      fmt::format("the prompt and max_tokens are {} tokens: expected at most {}, all the KV cache", tokens,
                  config_.kv_tokens));
}

Status Worker::check_rank(const net::HttpHead& head, const Ask& ask) {
  std::optional<std::uint64_t> rank = ask.rank;
  if (const std::string* text = head.find("x-data-parallel-rank")) {
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), number);
    if (error != std::errc() || end != text->data() + text->size()) {
      return bad_input("header X-data-parallel-rank: expected a whole number");
    }
    rank = number;
  }
  if (rank && *rank >= config_.ranks) {
    return bad_input(fmt::format("data-parallel rank {}: this engine has {}", *rank, config_.ranks));
  }
  if (rank) ++stats_.of_rank[*rank];
  if (const std::string* key = head.find("x-smg-routing-key");
      key != nullptr && (stats_.of_key.size() < 1024 || stats_.of_key.contains(*key))) {
    ++stats_.of_key[*key];
  }
  return {};
}

Status Worker::check_role(const Ask& ask) const {
  const auto flag = [&](std::string_view name) {
    const auto found = ask.handoff.find(name);
    return found != ask.handoff.end() && found->second.as_bool() != nullptr && *found->second.as_bool();
  };
  const bool bootstrap = !ask.bootstrap_room.is_null();
  if (config_.role == Role::kPlain) {
    if (!ask.handoff.empty() || bootstrap) return bad_input("this engine takes part in no handoff");
    return {};
  }
  if (config_.handoff == Handoff::kSglang) {
    std::uint64_t room = 0, port = 0;
    if (!ask.bootstrap_host.is_string() || !ask.bootstrap_room.to_uint(room) ||
        room >= std::uint64_t{1} << 63 ||
        (!ask.bootstrap_port.is_null() && !ask.bootstrap_port.to_uint(port))) {
      return bad_input(
          "bootstrap_host, bootstrap_port, bootstrap_room: expected a text, a port, a number below 2^63");
    }
    return {};
  }
  if (bootstrap) return bad_input("bootstrap_room: this engine does not use it");
  if (config_.role == Role::kPrefill) {
    // Prompts with several choices, or that nobody prefills for, run here whole.
    if (ask.handoff.empty()) return {};
    if (!flag("do_remote_decode") || flag("do_remote_prefill")) {
      return bad_input("kv_transfer_params: expected do_remote_decode true and do_remote_prefill false");
    }
    const bool early = flag("prefill_first");
    if ((ask.max_tokens != 1 && !early) || ask.stream || ask.choices != 1) {
      return bad_input("a prefill for another engine: expected max_tokens 1, one choice and no stream");
    }
    if (early && (config_.handoff != Handoff::kEldr || ask.route != Route::kCompletions || ask.logprobs ||
                  !ask.return_token_ids || ask.prompt_ids.empty())) {
      return bad_input(
          "prefill_first: expected a completion of one prompt, return_token_ids and no logprobs");
    }
  } else if (!ask.handoff.empty() && (!flag("do_remote_prefill") || flag("do_remote_decode"))) {
    return bad_input("kv_transfer_params: expected do_remote_prefill true and do_remote_decode false");
  }
  return config_.role == Role::kDecode ? check_first_token(ask) : Status();
}

/// What ELDR's decoder demands of a request whose first token has left already.
Status Worker::check_first_token(const Ask& ask) const {
  if (!ask.handoff.contains("prefill_first_token_id")) return {};
  std::uint64_t tokens = 0;
  const auto length = ask.handoff.find("prefill_prompt_tokens");
  const auto continues = ask.handoff.find("prefill_continues");
  if (config_.handoff != Handoff::kEldr || ask.route != Route::kCompletions || ask.logprobs ||
      ask.choices != 1 || ask.special_tokens || ask.handoff.contains("prefill_first") ||
      length == ask.handoff.end() || !length->second.to_uint(tokens) || tokens != ask.prompt_ids.size() ||
      tokens == 0) {
    return bad_input(
        "prefill_first_token_id: expected the prompt as the prefiller's token ids, no special tokens added");
  }
  if (continues == ask.handoff.end() || !(continues->second == Json(true)) || ask.max_tokens <= 1) {
    return bad_input("prefill_continues: expected true: a prefill that was the whole answer is not decoded");
  }
  return {};
}

Task<void> Worker::fail(Turn& turn, int status, std::string message) {
  ++stats_.refused;
  turn.outcome = Turn::Outcome::kRefused;
  std::vector<Header> headers{{"Content-Type", "application/json"}};
  if (status == 503) headers.push_back({"Retry-After", "1"});
  co_await turn.exchange.respond(status, headers, error_answer(status, message));
}

Task<void> Worker::generate(Exchange& exchange, Route route) {
  ++stats_.requests;
  const std::string* id = exchange.head().find("x-request-id");
  Turn turn(loop_, exchange, in_flight_, id != nullptr ? *id : fmt::format("local-{}", ++minted_));
  turn.fault = next_fault(exchange.head());
  exchange.on_client_gone([&turn] {
    turn.gone = true;
    turn.wake.set();
    if (turn.sequence != nullptr) turn.sequence->progress.set();
  });
  if (turn.fault != Fault::kNone && turn.fault != Fault::kSlow) {
    co_await misbehave(turn);
    if (turn.outcome != Turn::Outcome::kOpen) co_return;
  }
  Result<Ask> ask = read_ask(exchange.body(), route, turn.id);
  Status fine;
  if (ask) {
    fine = check_role(*ask);
    if (fine) fine = check_fits(*ask);
    if (fine) fine = check_rank(exchange.head(), *ask);
  } else {
    fine = tl::unexpected(ask.error());
  }
  if (!fine) {
    co_await fail(turn, 400, fine.error().message);
    co_return;
  }
  turn.ask = std::move(*ask);
  if (turn.ask.model.empty()) turn.ask.model = config_.model;
  if (turn.ask.model != config_.model) {
    co_await fail(turn, 404, fmt::format("the model `{}` does not exist", turn.ask.model));
    co_return;
  }
  turn.recorded = recorded_request(turn.ask);
  const bool fetches =
      config_.role == Role::kDecode && (config_.handoff == Handoff::kSglang || !turn.ask.handoff.empty());
  if (fetches) {
    const Status taken = co_await take_handoff(turn);
    if (turn.gone) {
      ++stats_.aborted;
      co_return;
    }
    if (!taken) {
      // As engines do: a prefiller that is gone is nothing that the client did wrong.
      co_await fail(turn, taken.error().kind == ErrorKind::kEnvironment ? 500 : 400, taken.error().message);
      co_return;
    }
  } else {
    co_await prefill(turn);
    if (turn.gone) {
      ++stats_.aborted;
      co_return;
    }
  }
  const bool hands_over =
      config_.role == Role::kPrefill && (config_.handoff == Handoff::kSglang || !turn.ask.handoff.empty());
  if (hands_over) {
    co_await answer_prefill(turn);
  } else {
    co_await decode(turn);
  }
}

Task<void> Worker::record(Exchange& exchange, std::string_view verb) {
  static const std::vector<Header> kText{{"Content-Type", "text/plain"}};
  int status = 200;
  std::string said = fmt::format("{} recording the expert distribution.\n", verb);
  if (!recorder_ || config_.recorder_folder.empty()) {
    status = 500;
    said = "this engine was started without a recorder\n";
  } else if (verb == "start") {
    recorder_->start();
  } else if (verb == "stop") {
    recorder_->stop();
  } else if (verb == "dump") {
    const auto stamp = static_cast<std::uint64_t>(loop_.now().count());
    if (const Status dumped = recorder_->dump(io::real_files(), config_.recorder_folder, stamp); !dumped) {
      status = 500;
      said = dumped.error().message;
    }
  } else {
    status = 404;
  }
  co_await exchange.respond(status, kText, said);
}

Task<void> Worker::prefill(Turn& turn) {
  ++stats_.prefills;
  if (recorder_ && recorder_->running()) recorder_->add_counts(recording_->counts(turn.recorded));
  const double tokens =
      static_cast<double>(config_.prefill_per_token.count()) * turn.ask.prompt_tokens / 1000;
  double wall = (static_cast<double>(config_.prefill_fixed.count()) + tokens) * config_.dilation;
  if (turn.fault == Fault::kSlow) wall *= 10;
  if (wall <= 0) co_return;
  prefill_free_ = std::max(prefill_free_, loop_.now()) + Nanoseconds(static_cast<std::int64_t>(wall));
  net::Timer timer(loop_, [&turn] { turn.wake.set(); });
  timer.set(prefill_free_);
  co_await turn.wake.wait();
  if (!turn.gone) turn.wake.reset();
}

std::uint32_t Worker::recorded_request(const Ask& ask) const {
  if (recording_ == nullptr) return 0;
  const std::uint64_t wish = ask.recorded ? *ask.recorded : ask.prompt_hash;
  return static_cast<std::uint32_t>(wish % recording_->requests.size());
}

std::string Worker::metrics() const {
  const std::uint64_t running = lie_.value_or(config_.role == Role::kPrefill ? in_flight_ : batch_.running());
  const double usage = config_.kv_tokens == 0
                           ? 0
                           : static_cast<double>(batch_.kv_used() + handoffs_.pending_tokens()) /
                                 static_cast<double>(config_.kv_tokens);
  std::string out;
  const auto gauge = [&](std::string_view name, auto value) {
    fmt::format_to(std::back_inserter(out), "# TYPE {0} gauge\n{0}{{model_name=\"{1}\"}} {2}\n", name,
                   config_.model, value);
  };
  if (config_.handoff == Handoff::kSglang) {
    gauge("sglang:num_running_reqs", running);
    gauge("sglang:num_queue_reqs", batch_.waiting());
    gauge("sglang:token_usage", usage);
  } else {
    gauge("vllm:num_requests_running", running);
    gauge("vllm:num_requests_waiting", batch_.waiting());
    gauge("vllm:kv_cache_usage_perc", usage);
  }
  gauge("emulator:handoffs_pending", handoffs_.pending());
  gauge("emulator:handoffs_expired", handoffs_.expired());
  gauge("emulator:handoffs_released", handoffs_.released());
  gauge("emulator:handoffs_taken", handoffs_.taken());
  gauge("emulator:requests", stats_.requests);
  gauge("emulator:finished", stats_.finished);
  gauge("emulator:aborted", stats_.aborted);
  gauge("emulator:refused", stats_.refused);
  gauge("emulator:in_flight", in_flight_);
  gauge("emulator:steps", batch_.steps());
  gauge("emulator:step_tokens", batch_.step_tokens());
  gauge("emulator:active_experts", batch_.active_experts());
  if (recorder_) gauge("emulator:recorded_tokens", recorder_->tokens());
  return out;
}

}  // namespace moesaic::emulator
