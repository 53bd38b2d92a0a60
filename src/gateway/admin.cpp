#include "gateway/admin.hpp"

#include <fmt/format.h>

#include <charconv>

#include "gateway/dashboard.hpp"
#include "gateway/gateway.hpp"
#include "gateway/learning.hpp"
#include "io/json.hpp"
#include "routing/decode_policies.hpp"

namespace moesaic::gateway {

using net::Header;

namespace {

double seconds(Nanoseconds time) { return static_cast<double>(time.count()) * 1e-9; }

Json error_json(std::string_view message) {
  Json json;
  json["error"] = message;
  return json;
}

const std::vector<Header>& json_headers() {
  static const std::vector<Header> headers{{"Content-Type", "application/json"},
                                           {"X-Content-Type-Options", "nosniff"}};
  return headers;
}

/// Why a browser's request may not be served, or "": a page of somebody else in an operator's browser must
/// not drain workers here, nor read (by a name of its own that leads here) what has no key.
std::string foreign_page(const net::HttpHead& head, const State& state) {
  const std::string* host = head.find("host");
  if (const std::string* origin = head.find("origin")) {
    const std::size_t at = origin->find("://");
    if (at == std::string::npos || host == nullptr || origin->substr(at + 3) != *host) {
      return "expected no page of another origin to ask this address";
    }
  }
  if (!state.config.admin_keys_file.empty() || host == nullptr) return "";
  std::string_view name = *host;
  if (const std::size_t colon = name.rfind(':'); colon != std::string_view::npos && !name.ends_with(']')) {
    name = name.substr(0, colon);
  }
  if (name.starts_with('[') && name.ends_with(']')) name = name.substr(1, name.size() - 2);
  if (name == "localhost" || is_loopback(name)) return "";
  return "expected the header Host to name the loopback address: give admin.keys_file to be asked by other "
         "names";
}

}  // namespace

net::Task<void> Admin::handle(net::Exchange& exchange) {
  if (const std::string why = foreign_page(exchange.head(), gateway_.state()); !why.empty()) {
    co_await exchange.respond(403, json_headers(), error_json(why).dump());
    co_return;
  }
  static const std::vector<Header> kText{{"Content-Type", "text/plain; version=0.0.4"}};
  const std::string_view path = net::path_of(exchange.head().target);
  const State& state = gateway_.state();
  if (path == "/health" || path == "/ready") {
    const bool good = path == "/health" || state.ready();
    co_await exchange.respond(good ? 200 : 503, json_headers(),
                              good ? "{\"status\":\"ok\"}" : "{\"status\":\"not ready\"}");
    co_return;
  }
  if (path == "/" && exchange.head().method == "GET") {  // holds nothing of this gateway: it asks with a key
    const DashboardPage page = dashboard_page();
    co_await exchange.respond(200, page.headers, page.html);
    co_return;
  }
  if (!state.admin_keys.allow(exchange.head().find("authorization"))) {
    co_await exchange.respond(401, json_headers(),
                              error_json("expected Authorization: Bearer <admin key>").dump());
    co_return;
  }
  if (path == "/metrics") {
    co_await exchange.respond(200, kText, metrics_text(state));
    co_return;
  }
  const Answer given = answer(exchange.head().method, exchange.head().target, exchange.body());
  co_await exchange.respond(given.status, json_headers(), given.json.dump());
}

Admin::Answer Admin::answer(std::string_view method, std::string_view target, std::string_view body) {
  const std::string_view path = net::path_of(target);
  if (path == "/admin/workers" && method == "GET") return workers();
  if (path == "/admin/workers" && method == "POST") return add_worker(body);
  if (path.starts_with("/admin/workers/")) return change_worker(method, path.substr(15), body);
  if (path == "/admin/policy") return policy(method, body);
  if (path == "/admin/decisions" && method == "GET") return decisions(target);
  if (path == "/admin/routing" && method == "GET") return routing();
  if (path == "/admin/latency" && method == "GET") return latency();
  if (path == "/admin/reload" && method == "POST") {
    const Status done = gateway_.reload();
    if (!done) return {400, error_json(done.error().message)};
    return {200, Json(Json::Object{})};
  }
  return {404, error_json("expected one of /admin/workers, /admin/workers/NAME, /admin/workers/NAME/drain, "
                          "/admin/policy, /admin/decisions, /admin/routing, /admin/latency, /admin/reload, "
                          "/metrics, /")};
}

Admin::Answer Admin::workers() const {
  const State& state = gateway_.state();
  Json list(Json::Array{});
  const Nanoseconds now = state.loop.now();
  for (const auto& backend : state.workers->all()) {
    Json entry;
    entry["name"] = backend->spec.name;
    entry["url"] = backend->pool->url();
    entry["role"] = to_string(backend->spec.role);
    entry["ranks"] = backend->spec.ranks;
    entry["state"] = to_string(backend->state.is(now));
    entry["in_flight"] = backend->in_flight;
    entry["requests"] = backend->requests;
    entry["failures"] = backend->failures;
    entry["ejections"] = backend->state.ejections();
    entry["idle_connections"] = backend->pool->idle();
    if (backend->spec.role != Role::kPrefill && state.placer->expected_experts(backend->key, 0)) {
      Json ranks(Json::Array{});
      for (std::uint32_t rank = 0; rank < backend->spec.ranks; ++rank) {
        ranks.push_back(*state.placer->expected_experts(backend->key, rank));
      }
      entry["expected_experts"] = std::move(ranks);
    }
    if (backend->load) {
      entry["running"] = backend->load->running;
      entry["waiting"] = backend->load->waiting;
      entry["kv_usage"] = backend->load->kv_usage;
    }
    list.push_back(std::move(entry));
  }
  Json json;
  json["schema"] = "moesaic.gateway-workers/1";
  json["workers"] = std::move(list);
  return {200, std::move(json)};
}

Admin::Answer Admin::add_worker(std::string_view body) {
  // The same block as in gateway.yaml: JSON is YAML.
  const std::string yaml = fmt::format("protocol: {}\nworkers: [{}]\n",
                                       protocol::to_string(gateway_.state().config.handoff), body);
  Result<Config> config = read_config(yaml, "the body");
  if (!config) return {400, error_json(config.error().message)};
  if (config->workers.size() != 1)
    return {400, error_json("expected one worker: {\"name\", \"url\", \"role\", ...}")};
  if (const Status fine = gateway_.check_home(config->workers.front()); !fine) {
    return {400, error_json(fine.error().message)};
  }
  const Status added = gateway_.state_.workers->add(std::move(config->workers.front()));
  if (!added) return {400, error_json(added.error().message)};
  return {200, Json(Json::Object{})};
}

Admin::Answer Admin::change_worker(std::string_view method, std::string_view rest, std::string_view) {
  const std::size_t slash = rest.find('/');
  const std::string_view name = rest.substr(0, slash);
  const std::string_view verb = slash == std::string_view::npos ? "" : rest.substr(slash + 1);
  Workers& workers = *gateway_.state_.workers;
  bool known = false;
  if (method == "DELETE" && verb.empty()) {
    known = workers.remove(name);
  } else if (method == "POST" && (verb == "drain" || verb == "undrain")) {
    known = workers.drain(name, verb == "drain");
  } else {
    return {405, error_json("expected DELETE /admin/workers/NAME, or POST .../drain or .../undrain")};
  }
  if (!known) return {404, error_json(fmt::format("no worker is named \"{}\"", name))};
  return {200, Json(Json::Object{})};
}

Admin::Answer Admin::policy(std::string_view method, std::string_view body) {
  if (method == "POST") {
    const Result<Json> json = io::parse_json(body, "the body");
    const Json* name = json ? json->find("decode") : nullptr;
    if (name == nullptr || !name->is_string())
      return {400, error_json("expected {\"decode\": \"<policy>\"}")};
    const Status used = gateway_.use_policy(*name->as_string());
    if (!used) return {400, error_json(used.error().message)};
  } else if (method != "GET") {
    return {405, error_json("expected GET or POST")};
  }
  Json json;
  json["schema"] = "moesaic.gateway-policy/1";
  json["decode"] = gateway_.state().placer->decode_name();
  json["prefill"] = gateway_.state().placer->prefill_name();
  Json known(Json::Array{});
  for (const routing::DecodePolicyEntry& entry : routing::decode_policies()) {
    Json one;
    one["name"] = entry.name;
    one["summary"] = entry.summary;
    known.push_back(std::move(one));
  }
  json["known"] = std::move(known);
  return {200, std::move(json)};
}

Admin::Answer Admin::decisions(std::string_view target) const {
  const State& state = gateway_.state();
  std::size_t limit = 256;
  if (const auto wish = net::query_parameter(target, "limit")) {
    const auto [end, error] = std::from_chars(wish->data(), wish->data() + wish->size(), limit);
    if (error != std::errc() || end != wish->data() + wish->size()) {
      return {400, error_json("limit: expected a whole number")};
    }
  }
  Json list(Json::Array{});
  const auto& recent = state.placer->recent();
  for (std::size_t i = 0; i < recent.size() && i < limit; ++i) {
    const DecisionRecord& record = recent[recent.size() - 1 - i];  // the newest first
    Json entry;
    entry["request_id"] = record.request;
    entry["worker"] = record.worker;
    entry["rank"] = record.rank;
    entry["prefiller"] = record.prefiller.empty() ? Json() : Json(record.prefiller);
    if (record.home) entry["home"] = *record.home;
    entry["reason"] = to_string(record.reason);
    entry["usage"] = to_string(record.source);
    if (record.locality) {
      entry["experts_shared"] = record.locality->here;
      entry["experts_shared_anywhere"] = record.locality->mean;
    }
    entry["seconds_ago"] = seconds(state.loop.now() - record.at);
    list.push_back(std::move(entry));
  }
  Json json;
  json["schema"] = "moesaic.gateway-decisions/1";
  json["decisions"] = std::move(list);
  return {200, std::move(json)};
}

Admin::Answer Admin::routing() const {
  const State& state = gateway_.state();
  Json json;
  json["schema"] = "moesaic.gateway-routing/1";
  json["protocol"] = protocol::to_string(state.config.handoff);
  json["decode"] = state.placer->decode_name();
  json["prefill"] = state.placer->prefill_name();
  json["refits"] = state.placer->refits();
  json["usage_layers"] = state.usage.layers;
  json["usage_experts"] = state.usage.experts;
  json["cached_blocks"] = state.cache.size();
  json["in_flight"] = state.in_flight;
  json["ready"] = state.ready();
  json["draining"] = state.draining;
  for (std::size_t i = 0; i < kOutcomes; ++i) {
    json["outcomes"][to_string(static_cast<Outcome>(i))] = state.metrics.outcomes[i];
  }
  json["handoffs"]["open"] = state.ledger.open_count();
  json["handoffs"]["taken"] = state.ledger.taken_count();
  json["handoffs"]["released"] = state.ledger.released_count();
  json["handoffs"]["orphaned"] = state.ledger.orphaned_count();
  json["decisions"] = Json(Json::Object{});
  for (const auto& [what, count] : state.metrics.decisions) json["decisions"][what] = count;
  if (state.learning != nullptr) json["learning"] = state.learning->report(state.loop.now());
  json["first_byte_p50_seconds"] = state.metrics.first_byte.quantile(0.5);
  json["first_byte_p99_seconds"] = state.metrics.first_byte.quantile(0.99);
  json["between_events_p50_seconds"] = state.metrics.between_events.quantile(0.5);
  json["between_events_p99_seconds"] = state.metrics.between_events.quantile(0.99);
  return {200, std::move(json)};
}

Admin::Answer Admin::latency() const {
  const State& state = gateway_.state();
  const Nanoseconds now = state.loop.now();
  // The last minute as numbers and bins, the last five as a course.
  const std::size_t window = std::chrono::minutes(1) / RecentDurations::kSlot;
  const auto tell = [&](const RecentDurations& recent) {
    Json out;
    const RecentDurations::Summary last = recent.over(now, window);
    out["count"] = last.count;
    out["p50_seconds"] = last.p50;
    out["p90_seconds"] = last.p90;
    out["p99_seconds"] = last.p99;
    Json bins(Json::Array{});
    for (const RecentDurations::Bin& bin : recent.bins(now, window)) {
      Json one;
      one["from_seconds"] = bin.from;
      one["to_seconds"] = bin.to;
      one["count"] = bin.count;
      bins.push_back(std::move(one));
    }
    out["bins"] = std::move(bins);
    Json course(Json::Array{});
    for (std::size_t i = RecentDurations::kSlots; i-- > 0;) {
      const Nanoseconds at = now - static_cast<std::int64_t>(i) * RecentDurations::kSlot;
      if (at < Nanoseconds{0}) continue;
      const RecentDurations::Summary slot = recent.over(at, 1);
      Json one;
      one["seconds_ago"] = seconds(static_cast<std::int64_t>(i) * RecentDurations::kSlot);
      one["count"] = slot.count;
      one["p50_seconds"] = slot.p50;
      one["p99_seconds"] = slot.p99;
      course.push_back(std::move(one));
    }
    out["course"] = std::move(course);
    return out;
  };
  Json json;
  json["schema"] = "moesaic.gateway-latency/1";
  json["window_seconds"] = 60;
  json["first_token"] = tell(state.metrics.recent_first);
  json["per_token"] = tell(state.metrics.recent_per_token);
  return {200, std::move(json)};
}

std::string metrics_text(const State& state) {
  std::string out;
  auto to = std::back_inserter(out);
  fmt::format_to(to, "# TYPE moesaic_requests_total counter\n");
  for (std::size_t i = 0; i < kOutcomes; ++i) {
    fmt::format_to(to, "moesaic_requests_total{{outcome=\"{}\"}} {}\n", to_string(static_cast<Outcome>(i)),
                   state.metrics.outcomes[i]);
  }
  fmt::format_to(to, "# TYPE moesaic_decisions_total counter\n");
  for (const auto& [what, count] : state.metrics.decisions) {
    const std::size_t comma = what.find(',');
    fmt::format_to(to, "moesaic_decisions_total{{reason=\"{}\",usage=\"{}\"}} {}\n", what.substr(0, comma),
                   what.substr(comma + 1), count);
  }
  const auto gauge = [&](std::string_view name, auto value) {
    fmt::format_to(to, "# TYPE {0} gauge\n{0} {1}\n", name, value);
  };
  const auto counter = [&](std::string_view name, auto value) {
    fmt::format_to(to, "# TYPE {0} counter\n{0} {1}\n", name, value);
  };
  gauge("moesaic_requests_in_flight", state.in_flight);
  gauge("moesaic_ready", state.ready() ? 1 : 0);
  gauge("moesaic_handoffs_open", state.ledger.open_count());
  counter("moesaic_handoffs_taken_total", state.ledger.taken_count());
  counter("moesaic_handoffs_released_total", state.ledger.released_count());
  counter("moesaic_handoffs_orphaned_total", state.ledger.orphaned_count());
  counter("moesaic_connect_retries_total", state.metrics.connect_retries);
  counter("moesaic_refits_total", state.placer->refits());
  gauge("moesaic_signature_cache_blocks", state.cache.size());
  const Nanoseconds now = state.loop.now();
  const auto each = [&](std::string_view name, std::string_view type, auto value) {
    fmt::format_to(to, "# TYPE {} {}\n", name, type);
    for (const auto& backend : state.workers->all()) {
      fmt::format_to(to, "{}{{worker=\"{}\",role=\"{}\"}} {}\n", name, backend->spec.name,
                     to_string(backend->spec.role), value(*backend));
    }
  };
  each("moesaic_worker_up", "gauge", [&](const Backend& b) { return b.state.routable(now) ? 1 : 0; });
  each("moesaic_worker_in_flight", "gauge", [](const Backend& b) { return b.in_flight; });
  each("moesaic_worker_requests_total", "counter", [](const Backend& b) { return b.requests; });
  each("moesaic_worker_failures_total", "counter", [](const Backend& b) { return b.failures; });
  each("moesaic_worker_reported_running", "gauge",
       [](const Backend& b) { return b.load ? b.load->running + b.load->waiting : 0; });
  state.metrics.first_byte.append(out, "moesaic_first_byte_seconds");
  each("moesaic_worker_expected_experts", "gauge", [&](const Backend& b) {
    double sum = 0;
    for (std::uint32_t rank = 0; b.spec.role != Role::kPrefill && rank < b.spec.ranks; ++rank) {
      sum += state.placer->expected_experts(b.key, rank).value_or(0);
    }
    return sum;
  });
  if (state.learning != nullptr) state.learning->append_metrics(out);
  state.metrics.per_token.append(out, "moesaic_time_per_token_seconds");
  state.metrics.between_events.append(out, "moesaic_between_events_seconds");
  state.metrics.prefill.append(out, "moesaic_prefill_seconds");
  state.metrics.total.append(out, "moesaic_request_seconds");
  return out;
}

}  // namespace moesaic::gateway
