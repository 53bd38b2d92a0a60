// The worker table: who there is, whether they may get requests, what they say of their load. Watches each
// with health checks while the loop runs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "gateway/config.hpp"
#include "gateway/engine_load.hpp"
#include "gateway/placer.hpp"
#include "gateway/worker_state.hpp"
#include "net/http_client.hpp"

namespace moesaic::gateway {

/// One worker. Calls hold it by shared_ptr: it outlives its removal until they end.
struct Backend {
  WorkerKey key{};
  WorkerSpec spec;
  WorkerState state;
  std::unique_ptr<net::HttpPool> pool;
  std::unique_ptr<net::HttpPool> watch_pool;  ///< checks do not wait behind requests
  std::optional<EngineLoad> load;
  std::uint64_t in_flight = 0, requests = 0, failures = 0;
  bool told_up = false;  ///< what the policies were told last
  bool removed = false;
};

class Workers {
 public:
  /// Called when a worker may get requests, or no longer.
  using OnChange = std::function<void(Backend&, bool up)>;
  using OnLoad = std::function<void(Backend&)>;

  /// Loop and options outlive this; options may change while it lives.
  Workers(net::Loop& loop, const HealthOptions& health, const net::ClientOptions& client, OnChange on_change,
          OnLoad on_load);
  ~Workers();

  /// Errors (bad input): the name is taken, its authorities cannot be read.
  Status add(WorkerSpec spec);
  /// Its running requests go on. False: unknown.
  bool remove(std::string_view name);
  bool drain(std::string_view name, bool draining);
  /// The options that were given at the start have other values now.
  void options_changed();

  std::shared_ptr<Backend> find(std::string_view name) const;
  std::shared_ptr<Backend> find(WorkerKey key) const;
  const std::vector<std::shared_ptr<Backend>>& all() const { return all_; }
  std::size_t routable(Role role) const;

  /// Outcomes of requests.
  void unreachable(Backend& backend);
  void failed(Backend& backend);
  void succeeded(Backend& backend);

 private:
  net::Task<void> watch(std::shared_ptr<Backend> backend);
  void refresh(Backend& backend);
  net::ClientOptions watching() const;

  net::Loop& loop_;
  const HealthOptions& health_;
  const net::ClientOptions& client_;
  OnChange on_change_;
  OnLoad on_load_;
  std::vector<std::shared_ptr<Backend>> all_;
  std::uint32_t minted_ = 0;
};

}  // namespace moesaic::gateway
