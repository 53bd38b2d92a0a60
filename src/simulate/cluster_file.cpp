#include "simulate/cluster_file.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "artifact/plan.hpp"
#include "core/limits.hpp"
#include "cost/model_yaml.hpp"
#include "simulate/simulation.hpp"

namespace moesaic::simulate {
namespace {

using namespace std::chrono_literals;

constexpr Nanoseconds kLongest = 24h;
constexpr double kDearest = 1e9;  ///< nanoseconds a unit
constexpr std::uint64_t kMaxWorkers = 4096;

std::string beside(const std::string& file, const std::string& path) {
  const std::size_t slash = file.rfind('/');
  return path.starts_with('/') || slash == file.npos ? path : file.substr(0, slash + 1) + path;
}

Result<cost::Picoseconds> price(const ConfigNode& node, std::string_view key) {
  MOESAIC_ASSIGN(const double value, node.number_or(key, 0, 0, kDearest));
  return cost::Picoseconds(std::llround(value * 1000));
}

/// Keys that another kind reads: they would do nothing here.
Status refuse(const ConfigNode& node, std::string_view kind, std::initializer_list<std::string_view> keys) {
  for (const std::string_view key : keys) {
    if (const ConfigNode* found = node.find(key)) {
      return bad_input(
          fmt::format("{}: {} does nothing where kind is {}; leave it out or choose another kind.",
                      found->place(), key, kind));
    }
  }
  return {};
}

Result<PrefillPool> read_prefill(const ConfigNode& node) {
  MOESAIC_TRY(
      node.check_keys({"workers", "fixed", "per_token_ns", "policy", "cache_blocks", "block_tokens"}));
  PrefillPool out;
  MOESAIC_ASSIGN(out.workers, node.count("workers", 1, kMaxWorkers));
  MOESAIC_ASSIGN(out.fixed, node.duration_or("fixed", 0ns, 0ns, kLongest));
  MOESAIC_ASSIGN(out.per_token, price(node, "per_token_ns"));
  MOESAIC_ASSIGN(out.policy, node.text_or("policy", out.policy));
  MOESAIC_ASSIGN(out.cache_blocks, node.count_or("cache_blocks", 0, 0, 100'000'000));
  MOESAIC_ASSIGN(const std::uint64_t block, node.count_or("block_tokens", out.block_tokens, 1, 1 << 20));
  out.block_tokens = static_cast<std::uint32_t>(block);
  return out;
}

Result<Transfer> read_transfer(const ConfigNode& node) {
  MOESAIC_TRY(node.check_keys({"latency", "per_token_ns"}));
  Transfer out;
  MOESAIC_ASSIGN(out.latency, node.duration_or("latency", 0ns, 0ns, kLongest));
  MOESAIC_ASSIGN(out.per_token, price(node, "per_token_ns"));
  return out;
}

Result<Admission> read_admission(const ConfigNode& node) {
  MOESAIC_TRY(node.check_keys({"kind", "pool", "max_late"}));
  Admission out;
  MOESAIC_ASSIGN(const std::size_t kind, node.choice("kind", {"fifo", "micro-batch"}));
  out.kind = static_cast<Admission::Kind>(kind);
  if (out.kind == Admission::Kind::kFifo) MOESAIC_TRY(refuse(node, "fifo", {"pool", "max_late"}));
  MOESAIC_ASSIGN(out.pool, node.count_or("pool", out.pool, 1, 1'000'000));
  MOESAIC_ASSIGN(out.max_late, node.count_or("max_late", out.max_late, 0, 1'000'000'000));
  return out;
}

Result<std::vector<FleetEvent>> read_events(const ConfigNode& node) {
  std::vector<FleetEvent> out;
  for (const ConfigNode& item : node.items()) {
    MOESAIC_TRY(item.check_keys({"at", "up", "down"}));
    FleetEvent event;
    MOESAIC_ASSIGN(event.at, item.duration("at", 0ns, kLongest));
    event.up = item.find("up") != nullptr;
    if (event.up == (item.find("down") != nullptr)) {
      return bad_input(fmt::format("{}: an event says at, and one of up and down, with the worker's number.",
                                   item.place()));
    }
    MOESAIC_ASSIGN(const std::uint64_t worker, item.count(event.up ? "up" : "down", 0, kMaxWorkers - 1));
    event.worker = static_cast<std::uint32_t>(worker);
    out.push_back(event);
  }
  return out;
}

Result<DecodePool> read_decode(io::FileSystem& files, const std::string& file, const ConfigNode& node,
                               const cost::ModelPreset& model) {
  MOESAIC_TRY(node.check_keys(
      {"workers", "max_running", "kv_tokens", "step", "plan", "admission", "tells_experts", "events"}));
  DecodePool out;
  MOESAIC_ASSIGN(out.workers, node.count("workers", 1, kMaxWorkers));
  MOESAIC_ASSIGN(const std::uint64_t running, node.count("max_running", 1, 65'536));
  out.max_running = static_cast<std::uint32_t>(running);
  MOESAIC_ASSIGN(const std::uint64_t kv, node.count_or("kv_tokens", 0, 0, std::uint64_t{1} << 40));
  out.kv_capacity = static_cast<std::int64_t>(kv);
  MOESAIC_ASSIGN(const ConfigNode* step, node.at("step"));
  MOESAIC_ASSIGN(out.step, cost::read_step_time(*step, model));
  if (const ConfigNode* admission = node.find("admission")) {
    MOESAIC_ASSIGN(out.admission, read_admission(*admission));
  }
  MOESAIC_ASSIGN(out.tells_experts, node.flag_or("tells_experts", false));
  if (const ConfigNode* events = node.find("events")) {
    MOESAIC_ASSIGN(out.events, read_events(*events));
    const Status valid = validate(out);
    if (!valid) return bad_input(fmt::format("{}: {}", events->place(), valid.error().message));
  }
  if (node.find("plan") == nullptr) return out;
  MOESAIC_ASSIGN(const std::string path, node.text("plan"));
  MOESAIC_ASSIGN(const artifact::Plan plan, artifact::read_plan(files, beside(file, path)));
  if (plan.dispatch != dispatch::Rule::kLocal && plan.dispatch != dispatch::Rule::kSglang) {
    return bad_input(
        fmt::format("{}: the plan {} is for a dispatch rule that depends on each token; simulate "
                    "knows local and sglang. Plan again with one of these.",
                    node.place(), path));
  }
  out.plan = DecoderPlan{.placement = plan.placement, .rule = plan.dispatch};
  return out;
}

Result<ArrivalOptions> read_arrivals(io::FileSystem& files, const std::string& path, const ConfigNode& node) {
  MOESAIC_TRY(
      node.check_keys({"kind", "file", "lengths_from_file", "burst_factor", "burst_length", "burst_period"}));
  ArrivalOptions out;
  MOESAIC_ASSIGN(const std::size_t kind, node.choice("kind", {"poisson", "bursts", "file"}));
  out.kind = static_cast<ArrivalOptions::Kind>(kind);
  MOESAIC_ASSIGN(const std::string kind_name, node.text("kind"));
  if (out.kind != ArrivalOptions::Kind::kBursts) {
    MOESAIC_TRY(refuse(node, kind_name, {"burst_factor", "burst_length", "burst_period"}));
  }
  if (out.kind != ArrivalOptions::Kind::kFile) {
    MOESAIC_TRY(refuse(node, kind_name, {"file", "lengths_from_file"}));
  }
  MOESAIC_ASSIGN(out.burst_factor, node.number_or("burst_factor", out.burst_factor, 1, 1000));
  MOESAIC_ASSIGN(out.burst_length, node.duration_or("burst_length", out.burst_length, 1ms, kLongest));
  MOESAIC_ASSIGN(out.burst_period, node.duration_or("burst_period", out.burst_period, 1ms, kLongest));
  MOESAIC_ASSIGN(out.lengths_from_trace, node.flag_or("lengths_from_file", false));
  if (out.kind == ArrivalOptions::Kind::kFile) {
    MOESAIC_ASSIGN(const std::string name, node.text("file"));
    MOESAIC_ASSIGN(ServingTrace trace, read_serving_trace(files, beside(path, name)));
    out.trace = std::make_shared<const ServingTrace>(std::move(trace));
  }
  const Status valid = validate(out);
  if (!valid) return bad_input(fmt::format("{}: {}", node.place(), valid.error().message));
  return out;
}

Result<Mix> read_mix(const ConfigNode& node) {
  MOESAIC_TRY(node.check_keys({"kind", "share", "domain", "period"}));
  Mix out;
  MOESAIC_ASSIGN(const std::size_t kind, node.choice("kind", {"mixed", "skewed", "shifting"}));
  out.kind = static_cast<Mix::Kind>(kind);
  MOESAIC_ASSIGN(const std::string kind_name, node.text("kind"));
  if (out.kind == Mix::Kind::kMixed) MOESAIC_TRY(refuse(node, kind_name, {"share"}));
  if (out.kind != Mix::Kind::kSkewed) MOESAIC_TRY(refuse(node, kind_name, {"domain"}));
  if (out.kind != Mix::Kind::kShifting) MOESAIC_TRY(refuse(node, kind_name, {"period"}));
  MOESAIC_ASSIGN(out.share, node.number_or("share", out.share, 0, 1));
  MOESAIC_ASSIGN(out.domain, node.text_or("domain", ""));
  MOESAIC_ASSIGN(out.period, node.duration_or("period", out.period, 1ms, kLongest));
  return out;
}

Status read_sweep(const ConfigNode& node, ClusterFile& out) {
  MOESAIC_TRY(node.check_keys({"policies", "rates", "loads", "running", "seeds", "first_seed"}));
  MOESAIC_ASSIGN(out.seeds, node.count_or("seeds", out.seeds, 1, 1000));
  MOESAIC_ASSIGN(out.first_seed, node.count_or("first_seed", 0, 0, 1'000'000));
  MOESAIC_ASSIGN(const std::span<const ConfigNode> policies, node.list("policies"));
  for (const ConfigNode& item : policies) {
    MOESAIC_ASSIGN(std::string policy, item.to_text("policies"));
    if (std::ranges::find(out.policies, policy) != out.policies.end()) {
      return bad_input(fmt::format("{}: the policy {} stands twice; name each once.", item.place(), policy));
    }
    out.policies.push_back(std::move(policy));
  }
  constexpr std::string_view kUnits[] = {"rates", "loads", "running"};
  for (std::size_t unit = 0; unit < std::size(kUnits); ++unit) {
    const ConfigNode* list = node.find(kUnits[unit]);
    if (list == nullptr) continue;
    if (!out.loads.empty()) {
      return bad_input(fmt::format("{}: {} is a second list of loads; give one of rates, loads, running.",
                                   list->place(), kUnits[unit]));
    }
    out.unit = static_cast<LoadUnit>(unit);
    MOESAIC_ASSIGN(const std::span<const ConfigNode> loads, node.list(kUnits[unit]));
    for (const ConfigNode& item : loads) {
      if (out.unit == LoadUnit::kRunning) {
        MOESAIC_ASSIGN(const std::uint64_t value, item.to_count("running", 1, 65'536));
        out.loads.push_back(static_cast<double>(value));
      } else {
        MOESAIC_ASSIGN(const double value, item.to_number(kUnits[unit], 1e-6, 1e6));
        out.loads.push_back(value);
      }
    }
  }
  if (out.policies.empty() || out.loads.empty()) {
    return bad_input(
        fmt::format("{}: sweep needs a list of policies and one of rates, loads or running, neither empty.",
                    node.place()));
  }
  return {};
}

}  // namespace

Result<ClusterFile> read_cluster_file(io::FileSystem& files, const std::string& path) {
  MOESAIC_ASSIGN(const std::string text, io::read_file(files, path, limits::kMaxConfigBytes));
  MOESAIC_ASSIGN(const ConfigNode node, parse_config(text, path));
  MOESAIC_TRY(node.check_keys({"trace", "model", "simulate_one_in", "split_seed", "predict_from",
                               "predict_folds", "prefill", "transfer", "decode", "arrivals", "mix", "warm_up",
                               "measure", "router", "eldr", "sweep"}));
  ClusterFile out;
  MOESAIC_ASSIGN(const std::string trace, node.text("trace"));
  out.trace = beside(path, trace);
  MOESAIC_ASSIGN(const std::string model_name, node.text("model"));
  const auto in_file = [&](Error error) {
    error.message = fmt::format("{}: {}", path, error.message);
    return tl::unexpected(std::move(error));
  };
  const auto model =
      cost::named_model(files, cost::is_model_file(model_name) ? beside(path, model_name) : model_name);
  if (!model) return in_file(model.error());
  MOESAIC_ASSIGN(out.one_in, node.count_or("simulate_one_in", out.one_in, 2, 100));
  MOESAIC_ASSIGN(out.split_seed, node.count_or("split_seed", 0, 0, 1'000'000));
  MOESAIC_ASSIGN(const std::string from, node.text_or("predict_from", "prefill"));
  const auto predict_from = parse_predict_from(from);
  if (!predict_from) return in_file(predict_from.error());
  out.predict_from = *predict_from;
  MOESAIC_ASSIGN(out.predict_folds, node.count_or("predict_folds", 0, 0, 100));
  if (out.predict_folds == 1) {
    return bad_input(fmt::format(
        "{}: predict_folds 1 leaves nobody to learn from; give 0 (served requests teach nobody) or "
        "2 to 100.",
        node.place()));
  }
  Cluster& cluster = out.cluster;
  MOESAIC_ASSIGN(const ConfigNode* prefill, node.at("prefill"));
  MOESAIC_ASSIGN(cluster.prefill, read_prefill(*prefill));
  if (const ConfigNode* transfer = node.find("transfer")) {
    MOESAIC_ASSIGN(cluster.transfer, read_transfer(*transfer));
  }
  MOESAIC_ASSIGN(const ConfigNode* decode, node.at("decode"));
  MOESAIC_ASSIGN(cluster.decode, read_decode(files, path, *decode, *model));
  if (const ConfigNode* arrivals = node.find("arrivals")) {
    MOESAIC_ASSIGN(cluster.arrivals, read_arrivals(files, path, *arrivals));
  }
  if (const ConfigNode* mix = node.find("mix")) {
    MOESAIC_ASSIGN(cluster.mix, read_mix(*mix));
  }
  MOESAIC_ASSIGN(cluster.warm_up, node.duration_or("warm_up", cluster.warm_up, 0ns, kLongest));
  MOESAIC_ASSIGN(cluster.measure, node.duration_or("measure", cluster.measure, 1ms, kLongest));
  routing::EldrOptions& eldr = cluster.policies.eldr;
  eldr.refit_every = 2s;
  if (const ConfigNode* options = node.find("eldr")) {
    MOESAIC_TRY(options->check_keys({"tau", "refit_every", "window", "balanced"}));
    MOESAIC_ASSIGN(eldr.tau, options->number_or("tau", eldr.tau, 0, 2));
    MOESAIC_ASSIGN(eldr.refit_every, options->duration_or("refit_every", eldr.refit_every, 1ms, kLongest));
    MOESAIC_ASSIGN(out.eldr_balanced, options->flag_or("balanced", true));
    MOESAIC_ASSIGN(eldr.window, options->duration_or("window", eldr.window, 1ms, kLongest));
  }
  if (const ConfigNode* router = node.find("router")) {
    MOESAIC_ASSIGN(const std::string name, router->to_text("router"));
    out.router_path = beside(path, name);
    MOESAIC_ASSIGN(out.router, artifact::read_router(files, out.router_path));
    const ConfigNode* options = node.find("eldr");
    if (options != nullptr && options->find("balanced") != nullptr) {
      return bad_input(
          fmt::format("{}: balanced does nothing where router gives the first centroids; leave one out.",
                      options->place()));
    }
  }
  MOESAIC_ASSIGN(const ConfigNode* sweep, node.at("sweep"));
  MOESAIC_TRY(read_sweep(*sweep, out));
  return out;
}

}  // namespace moesaic::simulate
