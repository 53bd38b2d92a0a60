#include "emulator/worker_config.hpp"

#include <fmt/format.h>

#include "core/config.hpp"
#include "cost/model_preset.hpp"

namespace moesaic::emulator {

namespace {

using namespace std::chrono_literals;

Status read_times(const ConfigNode& root, WorkerConfig& config) {
  MOESAIC_ASSIGN(config.dilation, root.number_or("dilation", 1, 0, 1e6));
  if (const ConfigNode* prefill = root.find("prefill")) {
    MOESAIC_TRY(prefill->check_keys({"fixed", "per_token"}));
    MOESAIC_ASSIGN(config.prefill_fixed, prefill->duration_or("fixed", 0ns, 0ns, 1h));
    MOESAIC_ASSIGN(const Nanoseconds per_token, prefill->duration_or("per_token", 0ns, 0ns, 1min));
    config.prefill_per_token = cost::Picoseconds(per_token.count() * 1000);
  }
  if (const ConfigNode* step = root.find("step")) {
    // Blocks that need a model's sizes use its preset; measured ones need none.
    const auto preset = cost::find_preset(config.model);
    MOESAIC_ASSIGN(config.step,
                   cost::read_step_time(*step, preset ? **preset : cost::model_presets().front()));
  }
  return {};
}

}  // namespace

Result<WorkerConfig> read_worker_config(std::string_view yaml, const std::string& where) {
  MOESAIC_ASSIGN(const ConfigNode root, parse_config(yaml, where));
  MOESAIC_TRY(root.check_keys({"address",
                               "port",
                               "certificate",
                               "key",
                               "role",
                               "handoff",
                               "model",
                               "engine_id",
                               "ranks",
                               "max_running",
                               "kv_tokens",
                               "dilation",
                               "prefill",
                               "step",
                               "handoff_lifetime",
                               "trace",
                               "trace_requests",
                               "eldr_signature",
                               "routed_experts",
                               "obey_faults",
                               "log",
                               "recorder_folder"}));
  WorkerConfig config;
  MOESAIC_ASSIGN(config.address, root.text_or("address", config.address));
  MOESAIC_ASSIGN(const std::uint64_t port, root.count_or("port", 0, 0, 65'535));
  config.port = static_cast<std::uint16_t>(port);
  MOESAIC_ASSIGN(config.certificate, root.text_or("certificate", ""));
  MOESAIC_ASSIGN(config.key, root.text_or("key", ""));
  if (config.certificate.empty() != config.key.empty()) {
    return bad_input(fmt::format("{}: expected certificate and key together, or neither", root.place()));
  }
  MOESAIC_ASSIGN(config.role, protocol::read_role(root, "role"));
  MOESAIC_ASSIGN(config.handoff, protocol::read_handoff(root, "handoff"));
  if ((config.role == Role::kPlain) != (config.handoff == protocol::Handoff::kNone)) {
    return bad_input(fmt::format(
        "{}: role {} with handoff {}: expected a handoff for roles prefill and decode, and none for plain",
        root.place(), to_string(config.role), protocol::to_string(config.handoff)));
  }
  MOESAIC_ASSIGN(config.model, root.text_or("model", config.model));
  MOESAIC_ASSIGN(config.engine_id, root.text_or("engine_id", config.engine_id));
  MOESAIC_ASSIGN(const std::uint64_t ranks, root.count_or("ranks", 1, 1, 4096));
  config.ranks = static_cast<std::uint32_t>(ranks);
  MOESAIC_ASSIGN(const std::uint64_t running, root.count_or("max_running", 64, 1, 1u << 20));
  config.max_running = static_cast<std::uint32_t>(running);
  MOESAIC_ASSIGN(const std::uint64_t kv, root.count_or("kv_tokens", 0, 0, std::uint64_t{1} << 40));
  config.kv_tokens = static_cast<std::int64_t>(kv);
  MOESAIC_TRY(read_times(root, config));
  MOESAIC_ASSIGN(config.handoff_lifetime, root.duration_or("handoff_lifetime", 480s, 1ms, 24h));
  MOESAIC_ASSIGN(config.trace, root.text_or("trace", ""));
  MOESAIC_ASSIGN(const std::size_t set, root.choice_or("trace_requests", 0, {"all", "train", "heldout"}));
  config.trace_requests = static_cast<RequestSet>(set);
  MOESAIC_ASSIGN(config.eldr_signature, root.flag_or("eldr_signature", false));
  MOESAIC_ASSIGN(const std::size_t routed, root.choice_or("routed_experts", 0, {"none", "vllm", "sglang"}));
  config.routed_experts = static_cast<WorkerConfig::RoutedExperts>(routed);
  if ((config.eldr_signature || routed != 0) && config.trace.empty()) {
    return bad_input(
        fmt::format("{}: eldr_signature and routed_experts need a trace to take experts from", root.place()));
  }
  if (routed != 0 && config.role != Role::kPlain) {
    return bad_input(
        fmt::format("{}: routed_experts: expected role plain; engines return none with prefill and "
                    "decode apart",
                    root.place()));
  }
  MOESAIC_ASSIGN(config.obey_faults, root.flag_or("obey_faults", false));
  MOESAIC_ASSIGN(config.log_file, root.text_or("log", ""));
  MOESAIC_ASSIGN(config.recorder_folder, root.text_or("recorder_folder", ""));
  if (!config.recorder_folder.empty() && config.trace.empty()) {
    return bad_input(fmt::format("{}: recorder_folder needs a trace to count experts in", root.place()));
  }
  return config;
}

}  // namespace moesaic::emulator
