#include "replay/replay.hpp"

namespace moesaic::replay {
namespace {

Json seconds_json(const Seconds& seconds) {
  Json out;
  out["dispatch"] = seconds.dispatch;
  out["compute"] = seconds.compute;
  out["combine"] = seconds.combine;
  out["wait"] = seconds.wait;
  out["slowest_dispatch_combine"] = seconds.slowest_dispatch_combine;
  return out;
}

/// [n, n] as rows.
Json matrix(const std::vector<std::int64_t>& values, std::size_t n) {
  Json::Array rows;
  for (std::size_t from = 0; from < n; ++from) {
    Json::Array row;
    for (std::size_t to = 0; to < n; ++to) row.push_back(values[from * n + to]);
    rows.push_back(std::move(row));
  }
  return rows;
}

std::vector<std::int64_t> node_matrix(const LayerReport& layer, const Topology& topology) {
  const std::size_t n = topology.gpus();
  std::vector<std::int64_t> out(topology.nodes * topology.nodes);
  for (std::size_t from = 0; from < n; ++from) {
    for (std::size_t to = 0; to < n; ++to) {
      out[index(topology.node_of(GpuId(from))) * topology.nodes + index(topology.node_of(GpuId(to)))] +=
          layer.dispatch[from * n + to] + layer.combine[from * n + to];
    }
  }
  return out;
}

}  // namespace

Json to_json(const Report& report) {
  Json out;
  out["schema"] = "moesaic.replay/1";
  out["mode"] = name(report.options.mode);
  out["wire"] = name(report.options.wire);
  out["dispatch"] = dispatch::name(report.options.rule);
  out["compute"] = report.options.compute;
  out["hidden"] = report.options.hidden;
  out["intermediate"] = report.options.intermediate;
  out["batch_tokens"] = report.options.batch_tokens;
  out["batches"] = report.batches;
  out["tokens"] = report.tokens;
  out["nodes"] = report.topology.nodes;
  out["gpus_per_node"] = report.topology.gpus_per_node;
  Json::Array hosts;
  for (const std::string& host : report.hosts) hosts.push_back(host);
  out["hosts"] = std::move(hosts);
  out["measured_inter_node_bytes"] = report.inter_node_bytes();
  out["measured_intra_node_bytes"] = report.intra_node_bytes();
  out["asked_experts_per_gpu_and_batch"] = report.asked_experts();
  out["checked_tokens"] = report.checked_tokens;
  out["max_abs_error"] = report.max_abs_error();
  out["tolerance_of_largest"] = tolerance(report.options.wire);
  out["within_tolerance"] = report.within_tolerance();
  out["seconds"] = seconds_json(report.seconds());
  const std::size_t n = report.topology.gpus();
  std::vector<std::int64_t> dispatch(n * n), combine(n * n);
  Json::Array layers;
  for (const LayerReport& layer : report.layers) {
    for (std::size_t i = 0; i < n * n; ++i) {
      dispatch[i] += layer.dispatch[i];
      combine[i] += layer.combine[i];
    }
    Json one;
    one["layer"] = index(layer.layer);
    one["measured_inter_node_bytes"] = layer.inter_node_bytes(report.topology);
    one["measured_intra_node_bytes"] = layer.intra_node_bytes(report.topology);
    one["control_inter_node_bytes"] = layer.control_inter_node_bytes;
    one["node_to_node_bytes"] = matrix(node_matrix(layer, report.topology), report.topology.nodes);
    one["rows"] = layer.rows;
    one["distinct_experts_per_gpu_and_batch"] = layer.distinct_experts;
    one["asked_experts_per_gpu_and_batch"] = layer.asked_experts;
    one["max_abs_error"] = layer.max_abs_error;
    one["max_abs_reference"] = layer.max_abs_reference;
    one["seconds"] = seconds_json(layer.seconds);
    layers.push_back(std::move(one));
  }
  out["layers"] = std::move(layers);
  out["dispatch_bytes"] = matrix(dispatch, n);
  out["combine_bytes"] = matrix(combine, n);
  return out;
}

}  // namespace moesaic::replay
