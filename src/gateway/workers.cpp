#include "gateway/workers.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace moesaic::gateway {

Workers::Workers(net::Loop& loop, const HealthOptions& health, const net::ClientOptions& client,
                 OnChange on_change, OnLoad on_load)
    : loop_(loop),
      health_(health),
      client_(client),
      on_change_(std::move(on_change)),
      on_load_(std::move(on_load)) {}

Workers::~Workers() {
  for (const auto& backend : all_) backend->removed = true;
}

Status Workers::add(WorkerSpec spec) {
  if (find(spec.name) != nullptr) {
    return bad_input(
        fmt::format("worker \"{}\" is there already: remove it first, or choose another name", spec.name));
  }
  MOESAIC_ASSIGN(std::optional<net::TlsPeer> tls, tls_peer(spec.tls, spec.host));
  auto backend = std::make_shared<Backend>();
  backend->key = WorkerKey{minted_++};
  backend->pool = std::make_unique<net::HttpPool>(loop_, spec.host, spec.port, client_, tls);
  backend->watch_pool =
      std::make_unique<net::HttpPool>(loop_, spec.host, spec.port, watching(), std::move(tls));
  backend->spec = std::move(spec);
  all_.push_back(backend);
  loop_.spawn(watch(backend));
  return {};
}

net::ClientOptions Workers::watching() const {
  net::ClientOptions options = client_;
  options.connect_timeout = health_.timeout;
  options.max_idle = 1;
  return options;
}

void Workers::options_changed() {
  for (const auto& backend : all_) {
    backend->pool->use(client_);
    backend->watch_pool->use(watching());
  }
}

bool Workers::remove(std::string_view name) {
  const auto backend = find(name);
  if (backend == nullptr) return false;
  backend->removed = true;
  refresh(*backend);
  std::erase(all_, backend);
  return true;
}

bool Workers::drain(std::string_view name, bool draining) {
  const auto backend = find(name);
  if (backend == nullptr) return false;
  backend->state.drain(draining);
  refresh(*backend);
  return true;
}

std::shared_ptr<Backend> Workers::find(std::string_view name) const {
  for (const auto& backend : all_) {
    if (backend->spec.name == name) return backend;
  }
  return nullptr;
}
std::shared_ptr<Backend> Workers::find(WorkerKey key) const {
  for (const auto& backend : all_) {
    if (backend->key == key) return backend;
  }
  return nullptr;
}

std::size_t Workers::routable(Role role) const {
  const Nanoseconds now = loop_.now();
  return static_cast<std::size_t>(std::count_if(all_.begin(), all_.end(), [&](const auto& backend) {
    return backend->spec.role == role && backend->state.routable(now);
  }));
}

void Workers::refresh(Backend& backend) {
  const bool up = !backend.removed && backend.state.routable(loop_.now());
  if (up == backend.told_up) return;
  backend.told_up = up;
  on_change_(backend, up);
}

void Workers::unreachable(Backend& backend) {
  ++backend.failures;
  backend.state.unreachable();
  refresh(backend);
}

void Workers::failed(Backend& backend) {
  ++backend.failures;
  std::size_t peers = 0, ejected = 0;
  const Nanoseconds now = loop_.now();
  for (const auto& other : all_) {
    if (other->spec.role != backend.spec.role) continue;
    ++peers;
    ejected += other->state.is(now) == WorkerState::Is::kEjected ? 1 : 0;
  }
  const bool may = static_cast<double>(ejected + 1) <= health_.max_ejected * static_cast<double>(peers);
  if (backend.state.failed(now, health_, may)) refresh(backend);
}

void Workers::succeeded(Backend& backend) { backend.state.succeeded(); }

net::Task<void> Workers::watch(std::shared_ptr<Backend> backend) {
  while (!backend->removed) {
    // With an open table entry only: a removed worker's table may be gone after any wait.
    const Nanoseconds interval = health_.interval, timeout = health_.timeout;
    net::Loop& loop = loop_;
    const Result<net::HttpAnswer> health =
        co_await net::fetch(loop, *backend->watch_pool, "GET", "/health", {}, "", timeout, 1 << 20);
    if (backend->removed) co_return;
    backend->state.health_check(health && health->head.status == 200, health_);
    refresh(*backend);
    if (health && health_.read_load) {
      const Result<net::HttpAnswer> metrics =
          co_await net::fetch(loop, *backend->watch_pool, "GET", "/metrics", {}, "", timeout, 8u << 20);
      if (backend->removed) co_return;
      backend->load = metrics && metrics->head.status == 200 ? read_engine_load(metrics->body) : std::nullopt;
      if (backend->load) on_load_(*backend);
    }
    co_await loop.sleep(interval);
  }
}

}  // namespace moesaic::gateway
