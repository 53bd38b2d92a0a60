// The load that engines tell in their /metrics (Prometheus text): vLLM, SGLang, TensorRT-LLM.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace moesaic::gateway {

struct EngineLoad {
  std::uint64_t running = 0, waiting = 0;
  double kv_usage = 0;  ///< share of the KV cache in use
};

/// Sums the series of several ranks (usage: their mean). Nothing when no running-requests series is there.
/// Values that are no numbers, negative or absurd are passed over. O(text).
std::optional<EngineLoad> read_engine_load(std::string_view text);

}  // namespace moesaic::gateway
