// worker.yaml: what an emulated engine is and how long things take it. docs/emulate.md lists the keys.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/clock.hpp"
#include "core/result.hpp"
#include "core/selection.hpp"
#include "cost/step_time.hpp"
#include "protocol/handoff.hpp"

namespace moesaic::emulator {

using protocol::Role;

struct WorkerConfig {
  std::string address = "127.0.0.1";
  std::uint16_t port = 0;            ///< 0: any free one
  std::string certificate{}, key{};  ///< PEM files for TLS; both or none
  Role role = Role::kPlain;
  /// How prompts arrive from, or leave for, the other role. kNone for role plain.
  protocol::Handoff handoff = protocol::Handoff::kNone;
  std::string model = "emulated";
  std::string engine_id = "engine";  ///< names this process in handoffs
  std::uint32_t ranks = 1;           ///< data-parallel ranks that requests may name
  std::uint32_t max_running = 64;    ///< requests in a batch
  std::int64_t kv_tokens = 0;        ///< 0: no limit
  /// Wall time = virtual time x dilation.
  double dilation = 1;
  Nanoseconds prefill_fixed{0};
  cost::Picoseconds prefill_per_token{0};
  cost::StepTime step{};                                     ///< all zero: tokens come at once
  Nanoseconds handoff_lifetime = std::chrono::seconds(480);  ///< of one that nobody takes
  std::string trace{};  ///< store that drives which experts tokens activate; may be empty
  RequestSet trace_requests = RequestSet::kAll;  ///< of it that are replayed
  bool eldr_signature = false;                   ///< prefill replies carry eldr_sig (needs a trace)
  /// Answers that are no streams carry the experts of every token, in this engine's form (needs a trace).
  enum class RoutedExperts { kNone, kVllm, kSglang };
  RoutedExperts routed_experts = RoutedExperts::kNone;
  /// Obey "X-Emulator-Fault: [role:]kind" of requests, and POST /emulator/faults. For tests.
  bool obey_faults = false;
  /// Where the recorder's dumps go (needs a trace); empty: this engine has no recorder.
  std::string recorder_folder{};
  /// Appended to: a JSON line when a decode begins and when it ends. For counting end to end; empty: none.
  std::string log_file{};
};

/// Errors (bad input) name file, line and key.
Result<WorkerConfig> read_worker_config(std::string_view yaml, const std::string& where);

}  // namespace moesaic::emulator
