#include "gateway/engine_load.hpp"

#include <algorithm>
#include <array>
#include <charconv>

namespace moesaic::gateway {
namespace {

constexpr std::array<std::string_view, 4> kRunning = {"vllm:num_requests_running", "sglang:num_running_reqs",
                                                      "sglang_num_running_reqs",
                                                      "trtllm_num_requests_running"};
constexpr std::array<std::string_view, 4> kWaiting = {"vllm:num_requests_waiting", "sglang:num_queue_reqs",
                                                      "sglang_num_queue_reqs", "trtllm_num_requests_waiting"};
constexpr std::array<std::string_view, 5> kUsage = {"vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc",
                                                    "sglang:token_usage", "sglang_token_usage",
                                                    "trtllm_kv_cache_utilization"};
constexpr double kAbsurd = 1e7;

template <std::size_t N>
bool is_one_of(std::string_view name, const std::array<std::string_view, N>& names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

std::optional<EngineLoad> read_engine_load(std::string_view text) {
  double running = 0, waiting = 0, usage = 0, usages = 0;
  bool found = false;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    const std::size_t name_end = line.find_first_of("{ ");
    if (line.starts_with('#') || name_end == std::string_view::npos) continue;
    const std::string_view name = line.substr(0, name_end);
    const bool is_running = is_one_of(name, kRunning), is_waiting = is_one_of(name, kWaiting);
    if (!is_running && !is_waiting && !is_one_of(name, kUsage)) continue;
    const std::size_t labels_end = line[name_end] == '{' ? line.rfind('}') : name_end;
    if (labels_end == std::string_view::npos) continue;
    std::size_t at = labels_end + (line[name_end] == '{' ? 1 : 0);
    while (at < line.size() && line[at] == ' ') ++at;
    double value = 0;
    if (std::from_chars(line.data() + at, line.data() + line.size(), value).ec != std::errc()) continue;
    if (!(value >= 0 && value < kAbsurd)) continue;
    if (is_running) {
      running += value;
      found = true;
    } else if (is_waiting) {
      waiting += value;
    } else {
      usage += std::min(value, 1.0);
      ++usages;
    }
  }
  if (!found) return std::nullopt;
  return EngineLoad{static_cast<std::uint64_t>(running), static_cast<std::uint64_t>(waiting),
                    usages > 0 ? usage / usages : 0};
}

}  // namespace moesaic::gateway
