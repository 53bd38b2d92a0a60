#include <fmt/format.h>

#include <cmath>

#include "core/limits.hpp"
#include "cost/step_time.hpp"

namespace moesaic::cost {
namespace {

constexpr double kMaxNanoseconds = 1e9;
constexpr Nanoseconds kMaxStep = std::chrono::seconds(100);
constexpr std::uint64_t kMaxPoint = 1'000'000'000;

Result<Picoseconds> price_or_zero(const ConfigNode& node, std::string_view key) {
  MOESAIC_ASSIGN(const double nanoseconds, node.number_or(key, 0, 0, kMaxNanoseconds));
  return Picoseconds(std::llround(1000 * nanoseconds));
}

Result<const HardwarePreset*> hardware_of(const ConfigNode& node) {
  MOESAIC_ASSIGN(const std::string name, node.text_or("hardware", "h100"));
  auto found = find_hardware(name);
  if (!found) return bad_input(fmt::format("{}: {}", node.place(), found.error().message));
  return found;
}

Result<std::vector<std::int64_t>> points(const ConfigNode& table, std::string_view key) {
  MOESAIC_ASSIGN(const std::span<const ConfigNode> items, table.list(key));
  std::vector<std::int64_t> out;
  for (const ConfigNode& item : items) {
    MOESAIC_ASSIGN(const std::uint64_t value, item.to_count(key, 0, kMaxPoint));
    out.push_back(static_cast<std::int64_t>(value));
  }
  return out;
}

Result<StepTable> read_table(const ConfigNode& node) {
  MOESAIC_TRY(node.check_keys({"tokens", "experts", "times_us"}));
  MOESAIC_ASSIGN(std::vector<std::int64_t> tokens, points(node, "tokens"));
  MOESAIC_ASSIGN(std::vector<std::int64_t> experts, points(node, "experts"));
  MOESAIC_ASSIGN(const std::span<const ConfigNode> rows, node.list("times_us"));
  std::vector<Nanoseconds> times;
  for (const ConfigNode& row : rows) {
    if (row.items().size() != experts.size()) {
      return bad_input(fmt::format("{}: times_us has {} times in this row, expected one an expert point: {}",
                                   row.place(), row.items().size(), experts.size()));
    }
    for (const ConfigNode& item : row.items()) {
      MOESAIC_ASSIGN(const double microseconds, item.to_number("times_us", 0, 1e8));
      times.emplace_back(std::llround(1000 * microseconds));
    }
  }
  auto table = StepTable::make(std::move(tokens), std::move(experts), std::move(times));
  if (!table) return bad_input(fmt::format("{}: {}", node.place(), table.error().message));
  return table;
}

Result<StepTime> read_roofline(const ConfigNode& node, const ModelPreset& model) {
  MOESAIC_TRY(node.check_keys(
      {"from", "hardware", "fixed_per_layer", "per_token_ns", "memory_efficiency", "gpus", "crosses_nodes"}));
  StepAssumptions assumptions;
  MOESAIC_ASSIGN(const HardwarePreset* hardware, hardware_of(node));
  MOESAIC_ASSIGN(assumptions.fixed_per_layer,
                 node.duration_or("fixed_per_layer", assumptions.fixed_per_layer, Nanoseconds(0), kMaxStep));
  if (node.find("per_token_ns")) {
    MOESAIC_ASSIGN(assumptions.per_token, price_or_zero(node, "per_token_ns"));
  }
  MOESAIC_ASSIGN(assumptions.memory_efficiency,
                 node.number_or("memory_efficiency", assumptions.memory_efficiency, 0.01, 1));
  MOESAIC_ASSIGN(assumptions.gpus, node.count_or("gpus", 1, 1, limits::kMaxGpus));
  MOESAIC_ASSIGN(assumptions.crosses_nodes, node.flag_or("crosses_nodes", false));
  return roofline_step(model, *hardware, assumptions);
}

Result<StepTime> read_eldr(const ConfigNode& node, const ModelPreset& model) {
  MOESAIC_TRY(node.check_keys({"from", "hardware", "growth", "rest_share"}));
  EldrStep options;
  MOESAIC_ASSIGN(const HardwarePreset* hardware, hardware_of(node));
  MOESAIC_ASSIGN(options.growth, node.number_or("growth", options.growth, 1.01, 7.99));
  MOESAIC_ASSIGN(options.rest_share, node.number_or("rest_share", options.rest_share, 0, 0.99));
  return eldr_figure2_step(model, *hardware, options);
}

Result<StepTime> read_measured(const ConfigNode& node) {
  MOESAIC_TRY(node.check_keys({"from", "fixed", "per_token_ns", "per_expert_ns", "per_kv_token_ns",
                               "per_gpu_copy_ns", "per_node_copy_ns", "table"}));
  StepTime step;
  MOESAIC_ASSIGN(step.per_kv_token, price_or_zero(node, "per_kv_token_ns"));
  MOESAIC_ASSIGN(step.per_gpu_copy, price_or_zero(node, "per_gpu_copy_ns"));
  MOESAIC_ASSIGN(step.per_node_copy, price_or_zero(node, "per_node_copy_ns"));
  if (const ConfigNode* table = node.find("table")) {
    for (const char* key : {"fixed", "per_token_ns", "per_expert_ns"}) {
      if (const ConfigNode* both = node.find(key)) {
        return bad_input(
            fmt::format("{}: {} stands beside table, which replaces it; remove one", both->place(), key));
      }
    }
    MOESAIC_ASSIGN(step.table, read_table(*table));
    return step;
  }
  MOESAIC_ASSIGN(step.fixed, node.duration("fixed", Nanoseconds(0), kMaxStep));
  MOESAIC_ASSIGN(step.per_token, price_or_zero(node, "per_token_ns"));
  MOESAIC_ASSIGN(step.per_expert, price_or_zero(node, "per_expert_ns"));
  return step;
}

}  // namespace

Result<StepTime> read_step_time(const ConfigNode& node, const ModelPreset& model) {
  MOESAIC_ASSIGN(const std::size_t from, node.choice("from", {"roofline", "eldr-figure-2", "measured"}));
  switch (from) {
    case 0:
      return read_roofline(node, model);
    case 1:
      return read_eldr(node, model);
    default:
      return read_measured(node);
  }
}

}  // namespace moesaic::cost
