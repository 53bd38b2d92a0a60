// gateway.yaml. docs/gateway.md lists the keys and their defaults.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.hpp"
#include "core/result.hpp"
#include "core/selection.hpp"
#include "gateway/engine_tls.hpp"
#include "gateway/lessons.hpp"
#include "gateway/shadow.hpp"
#include "gateway/store_recorder.hpp"
#include "net/http_client.hpp"
#include "net/http_server.hpp"
#include "protocol/handoff.hpp"

namespace moesaic::gateway {

using protocol::Role;

/// How a data-parallel rank is named to an engine.
enum class RankBy { kHeader, kBody };

struct WorkerSpec {
  std::string name;
  std::string host;
  std::uint16_t port = 0;
  std::optional<EngineTls> tls{};
  Role role = Role::kPlain;
  std::uint32_t ranks = 1;  ///< data-parallel ranks, addressed one by one when above 1
  RankBy rank_by = RankBy::kHeader;
  std::uint32_t max_running = 0;                  ///< a rank; 0: not known
  std::int64_t kv_tokens = 0;                     ///< a rank; 0: not known
  std::optional<std::uint16_t> bootstrap_port{};  ///< SGLang prefillers
  std::string engine_id{};                        ///< Mooncake prefillers
  std::string bootstrap_address{};                ///< Mooncake prefillers
  /// The plan's home that rank 0 serves, the other ranks those that follow; number_homes() fills it in.
  std::optional<std::uint32_t> home{};

  bool operator==(const WorkerSpec&) const = default;
};

struct ListenSpec {
  std::string address = "127.0.0.1";
  std::uint16_t port = 8000;
  std::string certificate{}, key{};  ///< PEM files; both or none

  bool operator==(const ListenSpec&) const = default;
};

struct Deadlines {
  Nanoseconds prefill = std::chrono::seconds(120);       ///< the prefill leg, whole
  Nanoseconds first_byte = std::chrono::seconds(120);    ///< of the decode leg's answer
  Nanoseconds between_bytes = std::chrono::seconds(60);  ///< of a running answer
  Nanoseconds total = std::chrono::seconds(1800);        ///< the request, whole
};

struct HealthOptions {
  Nanoseconds interval = std::chrono::seconds(2);
  Nanoseconds timeout = std::chrono::seconds(1);
  std::uint32_t fail_after = 2;     ///< bad checks in a row that take a worker out
  std::uint32_t recover_after = 1;  ///< good checks in a row that bring it back
  bool read_load = true;            ///< poll /metrics beside /health
  // Outlier ejection: requests, not checks, that fail.
  std::uint32_t eject_after = 5;                     ///< failures in a row; 0: never
  Nanoseconds eject_for = std::chrono::seconds(10);  ///< times the number of ejections so far, at most 10
  double max_ejected = 0.5;                          ///< share of the workers of a role
};

struct Config {
  ListenSpec listen{};
  ListenSpec admin{.address = "127.0.0.1", .port = 9000};
  std::string admin_keys_file{};
  std::string keys_file{};  ///< API keys of clients, one a line; empty: everybody
  protocol::Handoff handoff = protocol::Handoff::kNone;
  std::vector<WorkerSpec> workers{};
  std::string decode_policy = "jsq", prefill_policy = "least-loaded";
  std::string router_file{};                     ///< router.json for eldr-static, eldr
  std::string plan_file{};                       ///< plan.json for group
  std::string trace{};                           ///< store that marginal's predictor is fitted on
  RequestSet trace_requests = RequestSet::kAll;  ///< of `trace` that are learnt from
  std::size_t cache_entries = 4096;              ///< of the signature cache; 0: none
  std::size_t cache_block_bytes = 512;           ///< of prompt text
  std::string model{};  ///< a preset or a YAML file, where no file says the model's shape
  ShadowOptions shadow{};
  RecordOptions record{};
  std::optional<RefitOptions> refit{};
  std::size_t max_in_flight = 4096;       ///< requests; more get 429
  bool early_first_token = true;          ///< ELDR: where the request allows it
  bool refuse_reserved = false;           ///< 400 instead of taking out what only the gateway may say
  std::size_t max_event_bytes = 1 << 20;  ///< one event of a stream
  std::size_t max_held_bytes = 1 << 20;   ///< of an answer that is not a stream, held until it is whole
  std::size_t connect_attempts = 3;       ///< workers tried while none could be reached
  Nanoseconds drain_timeout = std::chrono::seconds(300);
  Deadlines deadlines{};
  HealthOptions health{};
  net::ServerLimits server{};
  net::ClientOptions client{};
  std::string log_file = "-";  ///< "-": stderr, "none"
};

/// Errors (bad input) name file, line and key.
Result<Config> read_config(std::string_view yaml, const std::string& where);

/// An address (no name, no brackets) of 127.0.0.0/8, or ::1.
bool is_loopback(std::string_view address);

/// "https://10.0.0.1:8100" -> host, port and whether there is TLS. Errors quote the text.
Status parse_url(std::string_view url, std::string& host, std::uint16_t& port, bool& tls);

/// Gives the workers that decode the homes of a plan that has `homes`: those that name none follow the worker
/// before them. Several may serve one home. Errors (bad input): a home that nobody serves, or that the plan
/// lacks.
Status number_homes(std::vector<WorkerSpec>& workers, std::size_t homes);

/// Name, role, protocol of a worker fit the configuration. Errors name the worker.
Status check_worker(const WorkerSpec& worker, protocol::Handoff handoff);

}  // namespace moesaic::gateway
