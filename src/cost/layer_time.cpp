#include "cost/layer_time.hpp"

#include <algorithm>

#include "core/check.hpp"

namespace moesaic::cost {
namespace {

/// Bytes over each link, weights and flops: what the busiest GPU has of each, or what an even share is.
struct Load {
  std::int64_t node_copies = 0, gpu_copies = 0;
  std::int64_t weight_bytes = 0, flops = 0;
};

Nanoseconds exchange(const Load& load, std::int64_t bytes, const LayerCosts& costs, std::int64_t shared_by) {
  Nanoseconds time{0};
  if (costs.crosses_nodes) time = transfer_time(costs.node, load.node_copies * bytes / shared_by);
  if (costs.crosses_gpus) {
    time = std::max(time, transfer_time(costs.gpu, load.gpu_copies * bytes / shared_by));
  }
  return time;
}

LayerTime time_of(const Load& load, const LayerCosts& costs, std::int64_t shared_by) {
  const Link memory{.bytes_per_nanosecond = costs.memory_bytes_per_nanosecond};
  const Link compute{.bytes_per_nanosecond = costs.flops_per_nanosecond};
  return {.dispatch = exchange(load, costs.dispatch_bytes, costs, shared_by),
          .experts = std::max(transfer_time(memory, load.weight_bytes / shared_by),
                              transfer_time(compute, load.flops / shared_by)),
          .combine = exchange(load, costs.combine_bytes, costs, shared_by)};
}

}  // namespace

LayerCosts layer_costs(const ModelPreset& model, const HardwarePreset& hardware, const Topology& topology,
                       double efficiency) {
  const auto weights = static_cast<std::int64_t>(model.hidden_size * model.expert_intermediate_size) * 3;
  const double rate = model.weights == WeightType::kFp8 ? 2 : 1;
  return {.node = hardware.rdma,
          .gpu = hardware.nvlink,
          .crosses_nodes = topology.nodes > 1,
          .crosses_gpus = topology.gpus_per_node > 1,
          .dispatch_bytes = dispatch_bytes(model),
          .combine_bytes = combine_bytes(model),
          .expert_bytes = expert_bytes(model),
          .row_flops = 2 * weights,
          .memory_bytes_per_nanosecond = hardware.memory_bytes_per_nanosecond * efficiency,
          .flops_per_nanosecond = hardware.bf16_flops_per_nanosecond * rate * efficiency};
}

LayerTime& LayerTime::operator+=(const LayerTime& other) {
  dispatch += other.dispatch;
  experts += other.experts;
  combine += other.combine;
  return *this;
}

LayerTime layer_time(std::span<const GpuWork> gpus, const LayerCosts& costs) {
  // Every term grows with its count, so the slowest GPU of a term is the one with the largest count.
  Load busiest;
  for (const GpuWork& gpu : gpus) {
    MOESAIC_CHECK(std::min({gpu.node_out, gpu.node_in, gpu.gpu_out, gpu.gpu_in, gpu.experts, gpu.rows}) >= 0);
    busiest.node_copies = std::max({busiest.node_copies, gpu.node_out, gpu.node_in});
    busiest.gpu_copies = std::max({busiest.gpu_copies, gpu.gpu_out, gpu.gpu_in});
    busiest.weight_bytes = std::max(busiest.weight_bytes, gpu.experts * costs.expert_bytes);
    busiest.flops = std::max(busiest.flops, gpu.rows * costs.row_flops);
  }
  return gpus.empty() ? LayerTime{} : time_of(busiest, costs, 1);
}

LayerTime balanced_layer_time(std::span<const GpuWork> gpus, const LayerCosts& costs) {
  if (gpus.empty()) return {};
  Load out, in;
  for (const GpuWork& gpu : gpus) {
    out.node_copies += gpu.node_out;
    in.node_copies += gpu.node_in;
    out.gpu_copies += gpu.gpu_out;
    in.gpu_copies += gpu.gpu_in;
    out.weight_bytes += gpu.experts * costs.expert_bytes;
    out.flops += gpu.rows * costs.row_flops;
  }
  out.node_copies = std::max(out.node_copies, in.node_copies);
  out.gpu_copies = std::max(out.gpu_copies, in.gpu_copies);
  return time_of(out, costs, static_cast<std::int64_t>(gpus.size()));
}

}  // namespace moesaic::cost
