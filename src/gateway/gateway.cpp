#include "gateway/gateway.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "gateway/admin.hpp"
#include "gateway/helper.hpp"
#include "gateway/learning.hpp"
#include "routing/prefill_policies.hpp"

namespace moesaic::gateway {

using net::Exchange;
using net::Header;
using net::Task;

Gateway::Gateway(net::Loop& loop, io::FileSystem& files, Config config, PolicyMaker policies,
                 std::function<Result<Config>()> reread)
    : state_{.loop = loop, .config = std::move(config)},
      files_(files),
      policies_(std::move(policies)),
      reread_(std::move(reread)),
      proxy_(state_),
      helper_(std::make_unique<Helper>()),
      admin_(std::make_unique<Admin>(*this)) {}

// NOLINTNEXTLINE(bugprone-exception-escape): out of memory alone, and the program ends anyway
Gateway::~Gateway() {
  // What it runs uses the rest. A recording is worth a moment; a refit that has not begun has nobody to
  // serve.
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  if (const std::size_t dropped = helper_->stop([&] { return std::chrono::steady_clock::now() < until; })) {
    Json line;
    line["dropped"] = dropped;
    state_.log.write("warning", "work that was waiting is lost", std::move(line));
  }
  state_.learning = nullptr;
  if (learning_) learning_->stop();
}

Result<std::unique_ptr<Gateway>> Gateway::start(net::Loop& loop, io::FileSystem& files, Config config,
                                                PolicyMaker policies,
                                                std::function<Result<Config>()> reread) {
  std::unique_ptr<Gateway> gateway(
      new Gateway(loop, files, std::move(config), std::move(policies), std::move(reread)));
  State& state = gateway->state_;
  MOESAIC_TRY(state.log.open(state.config.log_file));
  if (!state.config.keys_file.empty()) {
    MOESAIC_ASSIGN(state.keys, ApiKeys::read(files, state.config.keys_file));
  }
  if (!state.config.admin_keys_file.empty()) {
    MOESAIC_ASSIGN(state.admin_keys, ApiKeys::read(files, state.config.admin_keys_file));
  }
  MOESAIC_ASSIGN(auto decode, gateway->policies_.decode(state.config.decode_policy));
  MOESAIC_ASSIGN(auto prefill, routing::make_prefill_policy(state.config.prefill_policy, {}));
  std::unique_ptr<ExpertLoad> experts;
  if (gateway->policies_.predictor) experts = std::make_unique<ExpertLoad>(*gateway->policies_.predictor);
  state.placer = std::make_unique<Placer>(std::move(decode), std::move(prefill), std::move(experts));
  state.usage = gateway->policies_.usage;
  state.shape = gateway->policies_.shape;
  if (const auto& model = gateway->policies_.prompt_model) state.prompts.emplace(*model);
  state.cache = SignatureCache(state.config.cache_entries, state.config.cache_block_bytes);
  state.workers = std::make_unique<Workers>(
      loop, state.config.health, state.config.client,
      [&state](Backend& backend, bool up) {
        const Nanoseconds now = state.loop.now();
        up ? state.placer->worker_up(backend.key, backend.spec, now)
           : state.placer->worker_down(backend.key, now);
        Json line;
        line["worker"] = backend.spec.name;
        line["state"] = backend.removed ? std::string_view("removed") : to_string(backend.state.is(now));
        state.log.write(up ? "info" : "warning", "worker", std::move(line));
      },
      [&state](Backend& backend) {
        state.placer->worker_load(backend.key, backend.load->running + backend.load->waiting,
                                  state.loop.now());
      });
  MOESAIC_TRY(gateway->check_homes(state.config.workers));
  MOESAIC_TRY(gateway->open_servers());
  MOESAIC_TRY(gateway->start_learning());
  for (const WorkerSpec& worker : state.config.workers) MOESAIC_TRY(state.workers->add(worker));
  loop.spawn(gateway->tick());
  return gateway;
}

Status Gateway::check_homes(std::vector<WorkerSpec>& workers) const {
  if (policies_.homes > 0) return number_homes(workers, policies_.homes);
  for (const WorkerSpec& worker : workers) MOESAIC_TRY(check_home(worker));
  return {};
}

Status Gateway::check_home(const WorkerSpec& worker) const {
  const auto wrong = [&](const std::string& what) {
    return bad_input(fmt::format("worker \"{}\": {}", worker.name, what));
  };
  if (policies_.homes == 0) {
    return worker.home
               ? Status(wrong("names a home, and there is no plan: give policy.plan, or leave it out"))
               : Status();
  }
  if (worker.role == Role::kPrefill) return {};
  if (!worker.home || *worker.home + worker.ranks > policies_.homes) {
    return wrong(fmt::format("expected \"home\", the first of the plan's {} homes that its {} ranks serve",
                             policies_.homes, worker.ranks));
  }
  return {};
}

Status Gateway::start_learning() {
  const Config& config = state_.config;
  if (config.shadow.host.empty() && config.record.folder.empty()) return {};
  if (!policies_.shape) {
    return bad_input(
        "shadow and record need to know the model's layers and experts: give policy.router, policy.plan or "
        "policy.trace, or \"model\" with the name of a preset");
  }
  MOESAIC_ASSIGN(learning_, Learning::start(state_, files_, *helper_, *policies_.shape, policies_.predictor,
                                            policies_.prompt_model));
  state_.learning = learning_.get();
  return {};
}

Status Gateway::open_servers() {
  const Config& config = state_.config;
  const net::TlsContext* tls = nullptr;
  if (!config.listen.certificate.empty()) {
    MOESAIC_ASSIGN(net::TlsContext context,
                   net::TlsContext::server(config.listen.certificate, config.listen.key));
    certificates_.push_back(std::make_unique<net::TlsContext>(std::move(context)));
    tls = certificates_.back().get();
  }
  const auto error = [](int status, const std::string& message) { return error_body(status, message); };
  MOESAIC_ASSIGN(net::Listener listener,
                 net::Listener::open(state_.loop, config.listen.address, config.listen.port));
  server_ = std::make_unique<net::HttpServer>(
      state_.loop, std::move(listener), state_.config.server, tls,
      [this](Exchange& exchange) { return handle(exchange); }, error);
  MOESAIC_ASSIGN(net::Listener admin,
                 net::Listener::open(state_.loop, config.admin.address, config.admin.port));
  admin_server_ = std::make_unique<net::HttpServer>(
      state_.loop, std::move(admin), admin_limits_, nullptr,
      [this](Exchange& exchange) { return admin_->handle(exchange); }, error);
  server_->start();
  admin_server_->start();
  return {};
}

Task<void> Gateway::handle(Exchange& exchange) {
  const std::string_view path = net::path_of(exchange.head().target);
  const bool chat = path == "/v1/chat/completions";
  if (exchange.head().method == "POST" && (chat || path == "/v1/completions")) {
    return proxy_.completion(exchange, chat ? protocol::Route::kChat : protocol::Route::kCompletions);
  }
  return handle_other(exchange);
}

Task<void> Gateway::handle_other(Exchange& exchange) {
  static const std::vector<Header> kJson{{"Content-Type", "application/json"}};
  const std::string_view path = net::path_of(exchange.head().target);
  const std::string& method = exchange.head().method;
  if (path == "/v1/completions" || path == "/v1/chat/completions") {
    co_await exchange.respond(405, kJson, error_body(405, "expected POST"));
  } else if (path == "/v1/models" && method == "GET") {
    co_await proxy_.models(exchange);
  } else if (path == "/health" || path == "/ready") {
    const bool good = path == "/health" || state_.ready();
    std::string body = "{\"status\":\"ok\"}";
    if (!good) body = error_body(503, "not ready");
    co_await exchange.respond(good ? 200 : 503, kJson, body);
  } else {
    co_await exchange.respond(404, kJson,
                              error_body(404,
                                         "no such path; this gateway serves /v1/completions, "
                                         "/v1/chat/completions, /v1/models, /health, /ready"));
  }
}

Task<void> Gateway::tick() {
  while (true) {
    co_await state_.loop.sleep(std::chrono::milliseconds(100));
    if (learning_) learning_->tick(state_.loop.now());
    std::optional<routing::RefitJob> job = state_.placer->tick(state_.loop.now());
    if (job) run_beside(state_, *helper_, std::move(*job));
  }
}

void Gateway::drain(std::function<void()> done) {
  if (state_.draining) return;
  state_.draining = true;
  state_.log.write("info", "draining", Json(Json::Object{}));
  server_->drain();
  state_.loop.spawn(finish_drain(std::move(done)));
}

Task<void> Gateway::finish_drain(std::function<void()> done) {
  const Nanoseconds until = state_.loop.now() + state_.config.drain_timeout;
  while ((state_.in_flight > 0 || server_->connections() > 0) && state_.loop.now() < until) {
    co_await state_.loop.sleep(std::chrono::milliseconds(20));
  }
  server_->shut();
  Json line;
  line["in_flight"] = state_.in_flight;
  state_.log.write("info", "drained", std::move(line));
  done();
}

Status Gateway::use_policy(std::string_view name) {
  MOESAIC_ASSIGN(auto policy, policies_.decode(name));
  state_.placer->replace_decode(std::move(policy), state_.loop.now());
  state_.config.decode_policy = name;
  return {};
}

Status Gateway::reload() {
  if (!reread_) return bad_input("this gateway was started without a file to read again");
  MOESAIC_ASSIGN(Config fresh, reread_());
  const Config& old = state_.config;
  if (fresh.listen.address != old.listen.address || fresh.listen.port != old.listen.port ||
      fresh.admin.address != old.admin.address || fresh.admin.port != old.admin.port ||
      fresh.handoff != old.handoff || fresh.listen.certificate.empty() != old.listen.certificate.empty()) {
    return bad_input(
        "addresses, ports, protocol and whether TLS is on need a restart: change them back to reload");
  }
  if (fresh.router_file != old.router_file || fresh.trace != old.trace ||
      fresh.trace_requests != old.trace_requests || fresh.plan_file != old.plan_file) {
    return bad_input(
        "policy.router, policy.plan and policy.trace are read at the start alone: restart, or change them "
        "back");
  }
  if (fresh.shadow != old.shadow || fresh.record != old.record || fresh.refit != old.refit ||
      fresh.model != old.model) {
    return bad_input(
        "shadow, record, refit and model are read at the start alone: restart, or change them back");
  }
  MOESAIC_TRY(check_homes(fresh.workers));
  // All that can fail first: a bad file changes nothing.
  ApiKeys keys, admin_keys;
  if (!fresh.keys_file.empty()) {
    MOESAIC_ASSIGN(keys, ApiKeys::read(files_, fresh.keys_file));
  }
  if (!fresh.admin_keys_file.empty()) {
    MOESAIC_ASSIGN(admin_keys, ApiKeys::read(files_, fresh.admin_keys_file));
  }
  std::unique_ptr<routing::DecodePolicy> policy;
  if (fresh.decode_policy != old.decode_policy) {
    MOESAIC_ASSIGN(policy, policies_.decode(fresh.decode_policy));
  }
  std::unique_ptr<routing::PrefillPolicy> prefill;
  if (fresh.prefill_policy != old.prefill_policy) {
    MOESAIC_ASSIGN(prefill, routing::make_prefill_policy(fresh.prefill_policy, {}));
  }
  if (!fresh.listen.certificate.empty()) {
    MOESAIC_ASSIGN(net::TlsContext context,
                   net::TlsContext::server(fresh.listen.certificate, fresh.listen.key));
    certificates_.push_back(std::make_unique<net::TlsContext>(std::move(context)));
  }
  for (const WorkerSpec& worker : fresh.workers) MOESAIC_TRY(tls_peer(worker.tls, worker.host));
  MOESAIC_TRY(state_.log.open(fresh.log_file));  // also the same path anew: it may have been rotated
  if (!certificates_.empty()) server_->use_tls(certificates_.back().get());
  state_.keys = std::move(keys);
  state_.admin_keys = std::move(admin_keys);
  const std::vector<WorkerSpec> before = old.workers;
  const std::pair old_cache(old.cache_entries, old.cache_block_bytes);
  state_.config = std::move(fresh);
  const Config& config = state_.config;
  if (old_cache != std::pair(config.cache_entries, config.cache_block_bytes)) {
    state_.cache = SignatureCache(config.cache_entries, config.cache_block_bytes);
  }
  if (policy) state_.placer->replace_decode(std::move(policy), state_.loop.now());
  if (prefill) state_.placer->replace_prefill(std::move(prefill), state_.loop.now());
  state_.workers->options_changed();
  // Workers of the file only: those added by hand stay.
  for (const WorkerSpec& worker : before) {
    const auto& now = state_.config.workers;
    if (std::find(now.begin(), now.end(), worker) == now.end()) state_.workers->remove(worker.name);
  }
  for (const WorkerSpec& worker : state_.config.workers) {
    if (state_.workers->find(worker.name) == nullptr) MOESAIC_TRY(state_.workers->add(worker));
  }
  state_.log.write("info", "reloaded", Json(Json::Object{}));
  return {};
}

}  // namespace moesaic::gateway
