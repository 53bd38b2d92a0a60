#include "cost/step_time.hpp"

#include <cmath>

#include "core/check.hpp"

namespace moesaic::cost {
namespace {

/// Count x price, to the nearest nanosecond only after the sum: see step_time.
std::int64_t product(std::int64_t count, Picoseconds price) { return count * price.count(); }

Picoseconds to_picoseconds(double nanoseconds) { return Picoseconds(std::llround(1000 * nanoseconds)); }

std::int64_t moe_layers(const ModelPreset& model) {
  return static_cast<std::int64_t>(model.shape.layers.size());
}

}  // namespace

Nanoseconds step_time(const StepTime& model, const StepLoad& load) {
  if (load.tokens == 0) return Nanoseconds(0);
  std::int64_t picoseconds = product(load.kv_tokens, model.per_kv_token) +
                             product(load.gpu_copies, model.per_gpu_copy) +
                             product(load.node_copies, model.per_node_copy);
  Nanoseconds base = model.fixed;
  if (model.table) {
    base = model.table->at(load.tokens, load.experts);
  } else {
    picoseconds += product(load.tokens, model.per_token) + product(load.experts, model.per_expert);
  }
  return base + Nanoseconds((picoseconds + 500) / 1000);
}

StepPrices prices_near(const StepTime& model, const StepLoad& load) {
  if (!model.table) return {model.per_token, model.per_expert, model.per_kv_token};
  return {model.table->token_slope(load.tokens, load.experts),
          model.table->expert_slope(load.tokens, load.experts), model.per_kv_token};
}

StepTime roofline_step(const ModelPreset& model, const HardwarePreset& hardware,
                       const StepAssumptions& assumptions) {
  const double bandwidth = hardware.memory_bytes_per_nanosecond * assumptions.memory_efficiency;
  StepTime step;
  step.fixed = assumptions.fixed_per_layer * static_cast<std::int64_t>(model.shape.model_layers);
  step.per_token = assumptions.per_token;
  step.per_expert = marginal_time(bandwidth, expert_bytes(model));
  step.per_kv_token = marginal_time(bandwidth, model.kv_bytes_per_token);
  if (assumptions.gpus > 1) {
    const Link& slowest = assumptions.crosses_nodes ? hardware.rdma : hardware.nvlink;
    step.fixed += 2 * slowest.latency * moe_layers(model);  // dispatch and combine
    step.per_gpu_copy = marginal_time(hardware.nvlink.bytes_per_nanosecond, copy_bytes(model));
    step.per_node_copy = marginal_time(hardware.rdma.bytes_per_nanosecond, copy_bytes(model));
  }
  return step;
}

StepTime eldr_figure2_step(const ModelPreset& model, const HardwarePreset& hardware,
                           const EldrStep& options) {
  MOESAIC_CHECK(options.growth > 1 && options.growth < 8);
  MOESAIC_CHECK(options.rest_share >= 0 && options.rest_share < 1);
  StepTime step;
  step.per_expert = marginal_time(hardware.memory_bytes_per_nanosecond, expert_bytes(model));
  // A layer takes start + per_expert x n; start + bE = growth x (start + bE/8) gives the start.
  const double all =
      static_cast<double>(step.per_expert.count()) / 1000 * static_cast<double>(model.shape.experts);
  const double start = all * (1 - options.growth / 8) / (options.growth - 1);
  const double moe_at_half = (start + all / 2) * static_cast<double>(moe_layers(model));
  const double rest = moe_at_half * options.rest_share / (1 - options.rest_share);
  step.fixed = Nanoseconds(std::llround(start * static_cast<double>(moe_layers(model)) + rest));
  // "Batch size hardly matters": 64 sequences add one percent.
  step.per_token = to_picoseconds((moe_at_half + rest) / 100 / 64);
  return step;
}

}  // namespace moesaic::cost
