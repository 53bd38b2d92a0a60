#include "gateway/config.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "core/config.hpp"
#include "core/limits.hpp"

namespace moesaic::gateway {
namespace {

using namespace std::chrono_literals;
using protocol::Handoff;

template <class T>
Status read_size(const ConfigNode& node, std::string_view key, T& out, std::uint64_t min, std::uint64_t max) {
  MOESAIC_ASSIGN(const std::uint64_t value, node.count_or(key, static_cast<std::uint64_t>(out), min, max));
  out = static_cast<T>(value);
  return {};
}
Status read_time(const ConfigNode& node, std::string_view key, Nanoseconds& out) {
  MOESAIC_ASSIGN(out, node.duration_or(key, out, 1ms, 24h * 365));
  return {};
}

Status read_address(const ConfigNode& node, ListenSpec& out) {
  MOESAIC_ASSIGN(out.address, node.text_or("address", out.address));
  return read_size(node, "port", out.port, 0, 65'535);
}

Status read_listen(const ConfigNode& node, ListenSpec& out) {
  MOESAIC_TRY(node.check_keys({"address", "port", "certificate", "key"}));
  MOESAIC_TRY(read_address(node, out));
  MOESAIC_ASSIGN(out.certificate, node.text_or("certificate", ""));
  MOESAIC_ASSIGN(out.key, node.text_or("key", ""));
  if (out.certificate.empty() != out.key.empty()) {
    return bad_input(fmt::format("{}: expected certificate and key together, or neither", node.place()));
  }
  return {};
}

/// `tls` is there when the engine's url is https.
Status read_engine_tls(const ConfigNode& node, std::optional<EngineTls>& tls) {
  MOESAIC_TRY(node.check_keys({"ca_file", "name", "verify"}));
  if (!tls) {
    return bad_input(fmt::format("{}: tls is for https: expected a url https://HOST:PORT", node.place()));
  }
  MOESAIC_ASSIGN(tls->ca_file, node.text_or("ca_file", ""));
  MOESAIC_ASSIGN(tls->name, node.text_or("name", ""));
  MOESAIC_ASSIGN(tls->verify, node.flag_or("verify", true));
  if (!tls->verify && !tls->ca_file.empty()) {
    return bad_input(
        fmt::format("{}: ca_file says whom to trust and verify: false to trust everybody: "
                    "expected one of them",
                    node.place()));
  }
  return {};
}

Result<WorkerSpec> read_worker(const ConfigNode& node, Handoff handoff) {
  MOESAIC_TRY(node.check_keys({"name", "url", "tls", "role", "ranks", "rank_by", "max_running", "kv_tokens",
                               "bootstrap_port", "engine_id", "bootstrap_address", "home"}));
  WorkerSpec worker;
  MOESAIC_ASSIGN(worker.name, node.text("name"));
  MOESAIC_ASSIGN(const std::string url, node.text("url"));
  bool tls = false;
  if (const Status fine = parse_url(url, worker.host, worker.port, tls); !fine) {
    return bad_input(fmt::format("{}: {}", node.place(), fine.error().message));
  }
  if (tls) worker.tls.emplace();
  if (const ConfigNode* block = node.find("tls")) MOESAIC_TRY(read_engine_tls(*block, worker.tls));
  MOESAIC_ASSIGN(worker.role, protocol::read_role(node, "role"));
  MOESAIC_TRY(read_size(node, "ranks", worker.ranks, 1, 4096));
  MOESAIC_ASSIGN(const std::size_t rank_by, node.choice_or("rank_by", 0, {"header", "body"}));
  worker.rank_by = static_cast<RankBy>(rank_by);
  MOESAIC_TRY(read_size(node, "max_running", worker.max_running, 0, 1u << 20));
  MOESAIC_TRY(read_size(node, "kv_tokens", worker.kv_tokens, 0, std::uint64_t{1} << 40));
  if (node.find("bootstrap_port") != nullptr) {
    MOESAIC_ASSIGN(const std::uint64_t port, node.count("bootstrap_port", 1, 65'535));
    worker.bootstrap_port = static_cast<std::uint16_t>(port);
  }
  if (node.find("home") != nullptr) {
    MOESAIC_ASSIGN(const std::uint64_t home, node.count("home", 0, limits::kMaxGpus));
    worker.home = static_cast<std::uint32_t>(home);
  }
  MOESAIC_ASSIGN(worker.engine_id, node.text_or("engine_id", ""));
  MOESAIC_ASSIGN(worker.bootstrap_address, node.text_or("bootstrap_address", ""));
  if (const Status fine = check_worker(worker, handoff); !fine) {
    return bad_input(fmt::format("{}: {}", node.place(), fine.error().message));
  }
  return worker;
}

Status read_health(const ConfigNode& node, HealthOptions& out) {
  MOESAIC_TRY(node.check_keys({"interval", "timeout", "fail_after", "recover_after", "read_load",
                               "eject_after", "eject_for", "max_ejected"}));
  MOESAIC_TRY(read_time(node, "interval", out.interval));
  MOESAIC_TRY(read_time(node, "timeout", out.timeout));
  MOESAIC_TRY(read_size(node, "fail_after", out.fail_after, 1, 1000));
  MOESAIC_TRY(read_size(node, "recover_after", out.recover_after, 1, 1000));
  MOESAIC_ASSIGN(out.read_load, node.flag_or("read_load", out.read_load));
  MOESAIC_TRY(read_size(node, "eject_after", out.eject_after, 0, 1000));
  MOESAIC_TRY(read_time(node, "eject_for", out.eject_for));
  MOESAIC_ASSIGN(out.max_ejected, node.number_or("max_ejected", out.max_ejected, 0, 1));
  return {};
}

Status read_deadlines(const ConfigNode& node, Config& out) {
  MOESAIC_TRY(node.check_keys({"connect", "prefill", "first_byte", "between_bytes", "total", "drain"}));
  MOESAIC_TRY(read_time(node, "connect", out.client.connect_timeout));
  MOESAIC_TRY(read_time(node, "prefill", out.deadlines.prefill));
  MOESAIC_TRY(read_time(node, "first_byte", out.deadlines.first_byte));
  MOESAIC_TRY(read_time(node, "between_bytes", out.deadlines.between_bytes));
  MOESAIC_TRY(read_time(node, "total", out.deadlines.total));
  return read_time(node, "drain", out.drain_timeout);
}

Status read_limits(const ConfigNode& node, Config& out) {
  MOESAIC_TRY(node.check_keys({"in_flight", "connections", "head_bytes", "headers", "body_bytes",
                               "answer_bytes", "event_bytes", "held_bytes", "idle_upstream", "head_timeout",
                               "body_timeout", "idle_timeout", "write_timeout", "connect_attempts"}));
  MOESAIC_TRY(read_size(node, "in_flight", out.max_in_flight, 1, 1u << 20));
  MOESAIC_TRY(read_size(node, "connections", out.server.max_connections, 1, 1u << 20));
  MOESAIC_TRY(read_size(node, "head_bytes", out.server.parse.head_bytes, 1024, 1u << 20));
  MOESAIC_TRY(read_size(node, "headers", out.server.parse.headers, 8, 10'000));
  MOESAIC_TRY(read_size(node, "body_bytes", out.server.parse.body_bytes, 1024, std::uint64_t{4} << 30));
  MOESAIC_TRY(read_size(node, "answer_bytes", out.client.parse.body_bytes, 1024, std::uint64_t{64} << 30));
  MOESAIC_TRY(read_size(node, "event_bytes", out.max_event_bytes, 1024, std::uint64_t{1} << 30));
  MOESAIC_TRY(read_size(node, "held_bytes", out.max_held_bytes, 0, std::uint64_t{1} << 30));
  MOESAIC_TRY(read_size(node, "idle_upstream", out.client.max_idle, 0, 1u << 16));
  MOESAIC_TRY(read_time(node, "head_timeout", out.server.head_timeout));
  MOESAIC_TRY(read_time(node, "body_timeout", out.server.body_timeout));
  MOESAIC_TRY(read_time(node, "idle_timeout", out.server.idle_timeout));
  MOESAIC_TRY(read_time(node, "write_timeout", out.server.write_timeout));
  return read_size(node, "connect_attempts", out.connect_attempts, 1, 100);
}

Status read_policy(const ConfigNode& node, Config& out) {
  MOESAIC_TRY(node.check_keys({"decode", "prefill", "router", "plan", "trace", "trace_requests", "step",
                               "cache_entries", "cache_block_bytes"}));
  MOESAIC_ASSIGN(out.decode_policy, node.text_or("decode", out.decode_policy));
  MOESAIC_ASSIGN(out.prefill_policy, node.text_or("prefill", out.prefill_policy));
  MOESAIC_ASSIGN(out.router_file, node.text_or("router", ""));
  MOESAIC_ASSIGN(out.plan_file, node.text_or("plan", ""));
  MOESAIC_ASSIGN(out.trace, node.text_or("trace", ""));
  MOESAIC_ASSIGN(const std::size_t set, node.choice_or("trace_requests", 0, {"all", "train", "heldout"}));
  out.trace_requests = static_cast<RequestSet>(set);
  MOESAIC_TRY(read_size(node, "cache_entries", out.cache_entries, 0, 1u << 24));
  MOESAIC_TRY(read_size(node, "cache_block_bytes", out.cache_block_bytes, 16, 1u << 20));
  if (out.trace.empty() && node.find("step") != nullptr) {
    return bad_input(fmt::format("{}: step prices the experts of a trace: expected key \"trace\" beside it",
                                 node.place()));
  }
  return {};
}

Status read_shadow(const ConfigNode& node, ShadowOptions& out) {
  MOESAIC_TRY(node.check_keys({"url", "tls", "engine", "rate", "max_in_flight", "queue", "max_body_bytes",
                               "max_tokens", "timeout", "retry_after"}));
  MOESAIC_ASSIGN(const std::string url, node.text("url"));
  bool tls = false;
  if (const Status fine = parse_url(url, out.host, out.port, tls); !fine) {
    return bad_input(fmt::format("{}: {}", node.place(), fine.error().message));
  }
  if (tls) out.tls.emplace();
  if (const ConfigNode* block = node.find("tls")) MOESAIC_TRY(read_engine_tls(*block, out.tls));
  MOESAIC_ASSIGN(const std::size_t engine, node.choice_or("engine", 0, {"vllm", "sglang"}));
  out.engine = static_cast<ShadowEngine>(engine);
  MOESAIC_ASSIGN(out.rate, node.number_or("rate", out.rate, 0, 1));
  MOESAIC_TRY(read_size(node, "max_in_flight", out.max_in_flight, 1, 1024));
  MOESAIC_TRY(read_size(node, "queue", out.queue, 1, 1u << 16));
  MOESAIC_TRY(read_size(node, "max_body_bytes", out.max_body_bytes, 1024, 1u << 30));
  MOESAIC_TRY(read_size(node, "max_tokens", out.max_tokens, 2, 1u << 20));
  MOESAIC_TRY(read_time(node, "timeout", out.timeout));
  return read_time(node, "retry_after", out.retry_after);
}

Status read_record(const ConfigNode& node, RecordOptions& out) {
  MOESAIC_TRY(node.check_keys({"folder", "rotate", "store_requests", "max_bytes"}));
  MOESAIC_ASSIGN(out.folder, node.text("folder"));
  MOESAIC_TRY(read_time(node, "rotate", out.rotate));
  MOESAIC_TRY(read_size(node, "store_requests", out.store_requests, 1, 1u << 20));
  return read_size(node, "max_bytes", out.max_bytes, 1u << 20, std::uint64_t{1} << 50);
}

Status read_refit(const ConfigNode& node, RefitOptions& out) {
  MOESAIC_TRY(node.check_keys({"every", "min_requests", "max_requests"}));
  MOESAIC_TRY(read_time(node, "every", out.every));
  MOESAIC_TRY(read_size(node, "max_requests", out.max_requests, 10, 1u << 14));
  return read_size(node, "min_requests", out.min_requests, 10, out.max_requests);
}

}  // namespace

bool is_loopback(std::string_view address) {
  const std::string text(address);
  in_addr four{};
  if (inet_pton(AF_INET, text.c_str(), &four) == 1) return ntohl(four.s_addr) >> 24 == 127;
  in6_addr six{};
  return inet_pton(AF_INET6, text.c_str(), &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
}

Result<std::optional<net::TlsPeer>> tls_peer(const std::optional<EngineTls>& tls, const std::string& host) {
  if (!tls) return std::nullopt;
  MOESAIC_ASSIGN(net::TlsContext context, net::TlsContext::client(tls->ca_file, tls->verify));
  return net::TlsPeer{std::make_shared<const net::TlsContext>(std::move(context)),
                      tls->name.empty() ? host : tls->name};
}

Status parse_url(std::string_view url, std::string& host, std::uint16_t& port, bool& tls) {
  const auto wrong = [&] {
    return bad_input(fmt::format("\"{}\": expected http://HOST:PORT, or https", url.substr(0, 256)));
  };
  std::string_view rest = url;
  tls = rest.starts_with("https://");
  if (!tls && !rest.starts_with("http://")) return wrong();
  rest.remove_prefix(tls ? 8 : 7);
  if (rest.ends_with('/')) rest.remove_suffix(1);
  const std::size_t colon = rest.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return wrong();
  const std::string_view digits = rest.substr(colon + 1);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc() || end != digits.data() + digits.size() || port == 0) return wrong();
  rest = rest.substr(0, colon);
  if (rest.starts_with('[') && rest.ends_with(']')) rest = rest.substr(1, rest.size() - 2);
  if (rest.find_first_of("/@?#") != std::string_view::npos) return wrong();
  host = rest;
  return {};
}

Status check_worker(const WorkerSpec& worker, Handoff handoff) {
  const auto wrong = [&](std::string_view what) {
    return bad_input(fmt::format("worker \"{}\": {}", worker.name, what));
  };
  if (worker.name.empty() || worker.name.size() > 128 ||
      worker.name.find_first_of("/\"\\?# \t\n") != std::string::npos) {
    return wrong("expected a name of 1 to 128 characters without blanks, quotes and slashes");
  }
  if ((worker.role == Role::kPlain) != (handoff == Handoff::kNone)) {
    return wrong(
        fmt::format("role {} with protocol {}: expected role plain with protocol plain, and prefill or "
                    "decode with the others",
                    to_string(worker.role), protocol::to_string(handoff)));
  }
  if (worker.role == Role::kPrefill && worker.ranks > 1) {
    return wrong("ranks are named to decoders and plain workers: a prefiller spreads over its own");
  }
  if (worker.role == Role::kPrefill && worker.home) {
    return wrong("a plan's homes are served by decoders and plain workers, not by a prefiller");
  }
  if (worker.role == Role::kPrefill && handoff == Handoff::kMooncake &&
      (worker.engine_id.empty() || worker.bootstrap_address.empty())) {
    return wrong("a Mooncake prefiller needs engine_id and bootstrap_address");
  }
  return {};
}

Status number_homes(std::vector<WorkerSpec>& workers, std::size_t homes) {
  std::vector<bool> served(homes);
  std::size_t next = 0, places = 0;
  for (WorkerSpec& worker : workers) {
    if (worker.role == Role::kPrefill) continue;
    const std::size_t first = worker.home.value_or(static_cast<std::uint32_t>(next));
    next = first + worker.ranks;
    places += worker.ranks;
    if (next > homes) {
      return bad_input(fmt::format(
          "worker \"{}\": serves the homes {} to {}, and the plan has {} (0 to {}): expected as many places "
          "(workers x ranks) as homes, or \"home\" to name the first of each worker's",
          worker.name, first, next - 1, homes, homes - 1));
    }
    worker.home = static_cast<std::uint32_t>(first);
    std::fill_n(served.begin() + static_cast<std::ptrdiff_t>(first), worker.ranks, true);
  }
  const auto missing = std::find(served.begin(), served.end(), false);
  if (missing != served.end()) {
    return bad_input(fmt::format(
        "workers: {} places (workers x ranks) leave home {} of the plan's {} without one: expected a worker, "
        "or a rank of one, for every home",
        places, missing - served.begin(), homes));
  }
  return {};
}

Result<Config> read_config(std::string_view yaml, const std::string& where) {
  MOESAIC_ASSIGN(const ConfigNode root, parse_config(yaml, where));
  MOESAIC_TRY(root.check_keys({"listen", "admin", "keys_file", "protocol", "early_first_token", "workers",
                               "policy", "limits", "deadlines", "health", "model", "shadow", "record",
                               "refit", "reserved_fields", "log"}));
  Config config;
  if (const ConfigNode* node = root.find("listen")) MOESAIC_TRY(read_listen(*node, config.listen));
  if (const ConfigNode* node = root.find("admin")) {
    MOESAIC_TRY(node->check_keys({"address", "port", "keys_file"}));
    MOESAIC_TRY(read_address(*node, config.admin));
    MOESAIC_ASSIGN(config.admin_keys_file, node->text_or("keys_file", ""));
    if (!is_loopback(config.admin.address) && config.admin_keys_file.empty()) {
      return bad_input(fmt::format(
          "{}: admin.address {} can be reached by others: give admin.keys_file, or a loopback address",
          node->place(), config.admin.address));
    }
  }
  MOESAIC_ASSIGN(config.keys_file, root.text_or("keys_file", ""));
  MOESAIC_ASSIGN(config.handoff, protocol::read_handoff(root, "protocol"));
  MOESAIC_ASSIGN(config.early_first_token, root.flag_or("early_first_token", true));
  if (root.find("early_first_token") != nullptr && config.handoff != Handoff::kEldr) {
    return bad_input(fmt::format("{}: early_first_token is ELDR's: expected protocol eldr beside it",
                                 root.find("early_first_token")->place()));
  }
  MOESAIC_ASSIGN(const std::span<const ConfigNode> workers, root.list("workers"));
  std::set<std::string> names;
  for (const ConfigNode& node : workers) {
    MOESAIC_ASSIGN(WorkerSpec worker, read_worker(node, config.handoff));
    if (!names.insert(worker.name).second) {
      return bad_input(fmt::format("{}: worker \"{}\" stands twice: expected names that differ", node.place(),
                                   worker.name));
    }
    config.workers.push_back(std::move(worker));
  }
  if (const ConfigNode* node = root.find("policy")) MOESAIC_TRY(read_policy(*node, config));
  if (const ConfigNode* node = root.find("limits")) MOESAIC_TRY(read_limits(*node, config));
  if (const ConfigNode* node = root.find("deadlines")) MOESAIC_TRY(read_deadlines(*node, config));
  if (const ConfigNode* node = root.find("health")) MOESAIC_TRY(read_health(*node, config.health));
  MOESAIC_ASSIGN(config.model, root.text_or("model", ""));
  if (const ConfigNode* node = root.find("shadow")) MOESAIC_TRY(read_shadow(*node, config.shadow));
  if (const ConfigNode* node = root.find("record")) MOESAIC_TRY(read_record(*node, config.record));
  if (const ConfigNode* node = root.find("refit")) MOESAIC_TRY(read_refit(*node, config.refit.emplace()));
  if (config.refit && config.shadow.host.empty() && config.record.folder.empty()) {
    return bad_input(fmt::format(
        "{}: refit learns from what is recorded or shadowed: expected \"shadow\" or \"record\" beside it",
        root.find("refit")->place()));
  }
  MOESAIC_ASSIGN(const std::size_t reserved, root.choice_or("reserved_fields", 0, {"strip", "refuse"}));
  config.refuse_reserved = reserved == 1;
  MOESAIC_ASSIGN(config.log_file, root.text_or("log", "-"));
  return config;
}

}  // namespace moesaic::gateway
