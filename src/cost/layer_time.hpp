// The time of one MoE layer in one step, over the GPUs that share its experts: dispatch, experts, combine,
// each as long as its slowest GPU takes, because nobody begins the next one before. A model, not a
// measurement: docs/cost.md says what it leaves out.
//
//   exchange = max over GPUs and link classes of latency + max(copies out, copies in) x bytes / bandwidth
//   experts  = max over GPUs of max(experts x their bytes / memory bandwidth, rows x flops / flop rate)
//
// Whole nanoseconds, so that a sum over layers and steps is the same on every machine and in any order.
#pragma once

#include <cstdint>
#include <span>

#include "core/clock.hpp"
#include "core/topology.hpp"
#include "cost/hardware.hpp"
#include "cost/model_preset.hpp"

namespace moesaic::cost {

/// What one GPU does in one layer of one step. Copies are of hidden states on their way to the experts; the
/// results go the same way back.
struct GpuWork {
  std::int64_t node_out = 0, node_in = 0;  ///< copies over RDMA
  std::int64_t gpu_out = 0, gpu_in = 0;    ///< copies over NVLink
  std::int64_t experts = 0;                ///< distinct ones: weights read
  std::int64_t rows = 0;                   ///< (token, expert) pairs computed

  bool operator==(const GpuWork&) const = default;
};

/// Prices of the above.
struct LayerCosts {
  Link node, gpu;                          ///< RDMA, NVLink: full duplex, both at once
  bool crosses_nodes = false;              ///< without, the RDMA latency is not paid
  bool crosses_gpus = false;               ///< the same of NVLink: nodes of one GPU have none
  std::int64_t dispatch_bytes = 0;         ///< a copy
  std::int64_t combine_bytes = 0;          ///< a copy
  std::int64_t expert_bytes = 0;           ///< an expert's weights
  std::int64_t row_flops = 0;              ///< an expert on one token
  double memory_bytes_per_nanosecond = 1;  ///< as reached
  double flops_per_nanosecond = 1;         ///< as reached
};

/// Bytes and flops (2 x 3 x hidden x intermediate a row) of the model; fp8 experts compute at twice the bf16
/// rate, the others at it. `efficiency` is the share of memory bandwidth and flop rate that is reached.
LayerCosts layer_costs(const ModelPreset& model, const HardwarePreset& hardware, const Topology& topology,
                       double efficiency);

struct LayerTime {
  Nanoseconds dispatch{0}, experts{0}, combine{0};

  Nanoseconds total() const { return dispatch + experts + combine; }
  LayerTime& operator+=(const LayerTime& other);
  bool operator==(const LayerTime&) const = default;
};

/// REQUIRES: no negative counts. O(GPUs). Never falls when a count grows.
LayerTime layer_time(std::span<const GpuWork> gpus, const LayerCosts& costs);

/// The same totals spread evenly over the GPUs: no placement with these totals is faster. 0 without GPUs.
LayerTime balanced_layer_time(std::span<const GpuWork> gpus, const LayerCosts& costs);

}  // namespace moesaic::cost
