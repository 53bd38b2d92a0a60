// `moesaic gateway`: the servers, the parts of State, and what goes on beside requests — refits on one helper
// thread, reload, drain.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/proxy.hpp"
#include "gateway/state.hpp"
#include "io/files.hpp"
#include "net/http_server.hpp"
#include "net/tls.hpp"
#include "signature/prediction.hpp"
#include "signature/prompt_model.hpp"

namespace moesaic::gateway {

class Admin;
class Helper;
class Learning;

/// What a decode policy is made from, by the program: routers and traces are not the gateway's business.
struct PolicyMaker {
  /// Errors (bad input): an unknown name, options that are missing.
  std::function<Result<std::unique_ptr<routing::DecodePolicy>>(std::string_view name)> decode;
  UsageShape usage{};
  /// Of `usage`'s size: what a prefill's experts say about its decode. Without it no locality is told.
  std::optional<signature::Predictor> predictor{};
  /// With usage of `usage`'s size: what a prompt's words say where nothing better is known.
  std::optional<signature::PromptModel> prompt_model{};
  /// Of the experts that engines return; needed where anything is recorded or learnt.
  std::optional<ModelShape> shape{};
  std::size_t homes = 0;  ///< of the plan; 0: there is none, and workers name no homes
};

class Gateway {
 public:
  /// Binds, starts the health checks, serves while the loop runs. Loop and files outlive this. `reread` gives
  /// the configuration anew, for reload(). Errors: addresses, key files, certificates, policies.
  static Result<std::unique_ptr<Gateway>> start(net::Loop& loop, io::FileSystem& files, Config config,
                                                PolicyMaker policies, std::function<Result<Config>()> reread);
  ~Gateway();

  std::uint16_t port() const { return server_->port(); }
  std::uint16_t admin_port() const { return admin_server_->port(); }
  const State& state() const { return state_; }
  std::size_t connections() const { return server_->connections(); }

  /// Takes no new requests, lets the running ones end, at most drain_timeout long; then calls `done`.
  void drain(std::function<void()> done);
  /// Reads configuration, keys and certificate anew. Running requests are not touched. Errors leave all as it
  /// was; addresses and protocol cannot change.
  Status reload();
  /// Another decode policy. Errors as PolicyMaker::decode.
  Status use_policy(std::string_view name);

 private:
  friend class Admin;
  Gateway(net::Loop& loop, io::FileSystem& files, Config config, PolicyMaker policies,
          std::function<Result<Config>()> reread);

  /// Numbers the homes of a configuration's workers, or sees that none are named. Errors: number_homes().
  Status check_homes(std::vector<WorkerSpec>& workers) const;
  /// Of a worker that joins later: it must name the homes it serves.
  Status check_home(const WorkerSpec& worker) const;
  net::Task<void> handle(net::Exchange& exchange);
  net::Task<void> handle_other(net::Exchange& exchange);
  net::Task<void> tick();
  net::Task<void> finish_drain(std::function<void()> done);
  Status open_servers();
  Status start_learning();

  State state_;
  io::FileSystem& files_;
  PolicyMaker policies_;
  std::function<Result<Config>()> reread_;
  Proxy proxy_;
  net::ServerLimits admin_limits_;
  std::vector<std::unique_ptr<net::TlsContext>> certificates_;  ///< the last is in use
  std::unique_ptr<Helper> helper_;
  std::unique_ptr<Learning> learning_;
  std::unique_ptr<Admin> admin_;
  std::unique_ptr<net::HttpServer> server_, admin_server_;
};

/// Prometheus text of everything the gateway counts.
std::string metrics_text(const State& state);

}  // namespace moesaic::gateway
