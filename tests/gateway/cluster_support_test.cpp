#include "gateway/cluster.hpp"

namespace moesaic::testing {

using namespace std::chrono_literals;

Cluster::Cluster(ClusterOptions options) : options_(std::move(options)) {
  gateway::Config config;
  config.listen.port = config.admin.port = 0;
  config.log_file = "none";
  config.handoff = options_.handoff;
  config.health = {.interval = 20ms, .timeout = 500ms, .eject_after = 0};
  config.client.connect_timeout = 500ms;
  const auto start = [&](emulator::Role role, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      emulator::WorkerConfig worker;
      worker.role = role;
      worker.handoff = options_.handoff;
      worker.engine_id = std::string(protocol::to_string(role)) + std::to_string(i);
      worker.step.fixed = options_.step;
      worker.obey_faults = true;
      if (options_.worker) options_.worker(worker);
      auto started = emulator::Worker::start(loop_, worker, options_.recording);
      EXPECT_TRUE(started) << (started ? "" : started.error().message);
      gateway::WorkerSpec spec;
      spec.name = worker.engine_id;
      spec.host = "127.0.0.1";
      spec.port = (*started)->port();
      spec.role = role;
      spec.ranks = worker.ranks;
      spec.engine_id = worker.engine_id;
      spec.bootstrap_address = "127.0.0.1:" + std::to_string(spec.port);
      if (options_.handoff == protocol::Handoff::kSglang) spec.bootstrap_port = spec.port;
      config.workers.push_back(spec);
      workers_.push_back(std::move(*started));
    }
  };
  if (options_.handoff == protocol::Handoff::kNone) {
    start(emulator::Role::kPlain, options_.plain);
  } else {
    start(emulator::Role::kPrefill, options_.prefill);
    start(emulator::Role::kDecode, options_.decode);
  }
  if (options_.shadow) {
    auto started = emulator::Worker::start(loop_, *options_.shadow, options_.recording);
    EXPECT_TRUE(started) << (started ? "" : started.error().message);
    config.shadow.host = "127.0.0.1";
    config.shadow.port = (*started)->port();
    shadow_ = std::move(*started);
  }
  if (options_.configure) options_.configure(config);
  if (!options_.policies.decode) {
    options_.policies.decode = [](std::string_view name) { return routing::make_decode_policy(name, {}); };
  }
  auto started = gateway::Gateway::start(loop_, *options_.files, config, options_.policies,
                                         [this, config]() -> Result<gateway::Config> {
                                           gateway::Config fresh = config;
                                           if (options_.edit) options_.edit(fresh);
                                           return fresh;
                                         });
  EXPECT_TRUE(started) << (started ? "" : started.error().message);
  gateway_ = std::move(*started);
  client_ = std::make_unique<net::HttpPool>(loop_, "127.0.0.1", gateway_->port(), net::ClientOptions{});
  admin_ = std::make_unique<net::HttpPool>(loop_, "127.0.0.1", gateway_->admin_port(), net::ClientOptions{});
}

void Cluster::run(std::function<net::Task<void>()> body) {
  const auto whole = [](Cluster& cluster, std::function<net::Task<void>()> inner) -> net::Task<void> {
    co_await cluster.until([&] { return cluster.gateway_->state().ready(); }, "the gateway to be ready");
    co_await inner();
    cluster.loop_.stop();
  };
  loop_.spawn(whole(*this, std::move(body)));
  loop_.run();
}

void Cluster::kill(std::size_t i) { workers_[i]->kill(); }
void Cluster::revive(std::size_t i) {
  emulator::WorkerConfig config = workers_[i]->config();
  config.port = gateway_->state().workers->find(config.engine_id)->spec.port;
  dead_.push_back(std::move(workers_[i]));  // its handlers may still unwind
  auto started = emulator::Worker::start(loop_, config, options_.recording);
  EXPECT_TRUE(started) << (started ? "" : started.error().message);
  workers_[i] = std::move(*started);
}

net::Task<Got> Cluster::call(net::HttpPool& pool, std::string method, std::string target,
                             std::vector<net::Header> headers, std::string body) {
  Got got;
  auto opened = co_await pool.open();
  EXPECT_TRUE(opened) << (opened ? "" : opened.error().message);
  if (!opened) co_return got;
  opened->set_deadline(loop_.now() + 20s);
  const std::string_view piece = body;
  co_await opened->send(method, target, headers, std::span(&piece, body.empty() ? 0 : 1));
  const net::HttpHead* head = co_await opened->head();
  if (head != nullptr) {
    got.status = head->status;
    got.headers.assign(head->headers.begin(), head->headers.end());
    got.whole = co_await opened->all(got.body, 64u << 20);
  }
  got.fault = opened->fault();
  co_return got;
}

net::Task<Got> Cluster::post(std::string path, std::string body, std::vector<net::Header> headers) {
  headers.push_back({"Content-Type", "application/json"});
  return call(*client_, "POST", std::move(path), std::move(headers), std::move(body));
}
net::Task<Got> Cluster::admin(std::string method, std::string target, std::string body) {
  return call(*admin_, std::move(method), std::move(target), {}, std::move(body));
}

net::Task<std::optional<std::pair<Nanoseconds, Nanoseconds>>> Cluster::stream_times(std::string body) {
  auto opened = co_await client_->open();
  if (!opened) co_return std::nullopt;
  opened->set_deadline(loop_.now() + 1h);
  std::vector<net::Header> headers;
  headers.push_back({"Content-Type", "application/json"});
  const std::string_view piece = body;
  co_await opened->send("POST", "/v1/completions", headers, std::span(&piece, 1));
  const net::HttpHead* head = co_await opened->head();
  if (head == nullptr || head->status != 200) co_return std::nullopt;
  std::optional<std::pair<Nanoseconds, Nanoseconds>> times;
  bool done = false, more = true;
  while (more) {
    std::string part;
    more = co_await opened->next(part);
    done = done || part.find("[DONE]") != std::string::npos;
    if (part.find("\"text\"") == std::string::npos) continue;
    const Nanoseconds now = loop_.now();
    if (!times) times = {now, now};
    times->second = now;
  }
  if (!done) times.reset();
  co_return times;
}

net::Task<Json> Cluster::learning() {
  const Got got = co_await admin("GET", "/admin/routing");
  const Json json = got.json();
  const Json* learning = json.find("learning");
  EXPECT_NE(learning, nullptr) << got.body;
  co_return learning == nullptr ? Json() : *learning;
}

net::Task<void> Cluster::until(std::function<bool()> what, std::string name) {
  const Nanoseconds limit = loop_.now() + 60s;
  while (!what() && loop_.now() < limit) co_await loop_.sleep(1ms);
  EXPECT_TRUE(what()) << "waited for " << name;
}

net::Task<void> Cluster::expect_quiet(std::size_t pending_handoffs) {
  co_await until([this] { return gateway_->state().in_flight == 0; }, "no request in flight");
  for (const auto& worker : workers_) {
    co_await until([&] { return worker->in_flight() == 0 && worker->batch().running() == 0; },
                   worker->config().engine_id + " to be idle");
  }
  co_await until([this] { return gateway_->state().ledger.open_count() == 0; }, "no open handoff");
  std::size_t pending = 0;
  for (const auto& worker : workers_) pending += worker->handoffs().pending();
  EXPECT_EQ(pending, pending_handoffs);
  for (const auto& backend : gateway_->state().workers->all()) {
    EXPECT_EQ(backend->in_flight, 0u) << backend->spec.name;
  }
}

std::string expected_text(std::string_view prompt, std::uint32_t tokens) {
  return emulator::answer_text(emulator::prompt_hash(Json(prompt)), tokens);
}

std::optional<std::string> stream_text(const std::string& body) {
  std::string text;
  std::string_view rest = body;
  while (!rest.empty()) {
    const std::size_t end = rest.find("\n\n");
    if (end == std::string_view::npos || !rest.starts_with("data: ")) return std::nullopt;
    const std::string_view payload = rest.substr(6, end - 6);
    rest.remove_prefix(end + 2);
    if (payload == "[DONE]") continue;
    const auto json = io::parse_json(payload, "event");
    if (!json) return std::nullopt;
    const Json* choices = json->find("choices");
    if (choices == nullptr || choices->as_array()->empty()) continue;
    const Json& choice = choices->as_array()->front();
    const Json* part = choice.find("text");
    if (part == nullptr) part = choice.find("delta")->find("content");
    if (part != nullptr && part->is_string()) text += *part->as_string();
  }
  return text;
}

}  // namespace moesaic::testing
