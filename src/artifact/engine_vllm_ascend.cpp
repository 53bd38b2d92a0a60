// vllm-ascend: expert_map_path (read against ops/expert_load_balancer.py at commit 1427299). Layers are
// numbered from 0 among the MoE layers; the lists become one tensor, so they have equal lengths; a device
// maps an expert to one local slot, so a second copy on it would be lost.
#include <fmt/format.h>

#include <algorithm>

#include "artifact/engine_formats.hpp"
#include "artifact/fields.hpp"
#include "core/limits.hpp"
#include "io/json.hpp"

namespace moesaic::artifact::formats {
namespace {

/// Position of the first expert that repeats in a device's list, or its size.
std::size_t first_repeat(std::span<const ExpertId> device) {
  for (std::size_t i = 0; i < device.size(); ++i) {
    if (std::ranges::find(device.first(i), device[i]) != device.first(i).end()) return i;
  }
  return device.size();
}

}  // namespace

Result<Export> write_vllm_ascend(const Plan& plan, const std::string& file) {
  const Placement& placement = plan.placement;
  const std::size_t devices = placement.topology().gpus(), per_device = placement.slots_per_gpu();
  Json::Array layers;
  for (std::size_t row = 0; row < placement.layers().size(); ++row) {
    Json::Array list;
    for (std::size_t device = 0; device < devices; ++device) {
      const std::span<const ExpertId> held = placement.layer(row).subspan(device * per_device, per_device);
      if (const std::size_t i = first_repeat(held); i < held.size()) {
        return bad_input(
            fmt::format("export to vllm-ascend: layer {} puts two copies of expert {} on GPU {}, and "
                        "vllm-ascend keeps one a "
                        "device; plan with fewer --extra-slots, or with --algorithm patterns or random, "
                        "which keep copies apart",
                        index(placement.layers()[row]), index(held[i]), device));
      }
      Json::Array experts;
      for (const ExpertId expert : held) experts.emplace_back(index(expert));
      Json one;
      one["device_id"] = device;
      one["device_expert"] = std::move(experts);
      list.push_back(std::move(one));
    }
    Json layer;
    layer["layer_id"] = row;
    layer["device_count"] = devices;
    layer["device_list"] = std::move(list);
    layers.push_back(std::move(layer));
  }
  Json out;
  out["moe_layer_count"] = placement.layers().size();
  out["layer_list"] = std::move(layers);
  Export written{.bytes = out.dump() + "\n", .launch = {}, .warnings = {}};
  written.launch = fmt::format(
      "--enable-expert-parallel --additional-config '{{\"expert_map_path\": \"{}\", "
      "\"init_redundancy_expert\": "
      "{}}}'\n(expert-parallel size {}; newer versions read expert_map_path and num_redundant_experts inside "
      "\"eplb_config\")",
      file, placement.extra_slots(), devices);
  return written;
}

Result<Placement> read_vllm_ascend(std::string_view text, const Target& target) {
  MOESAIC_ASSIGN(const Json json, io::parse_json(text, target.where));
  Fields fields(json, target.where, "");
  const std::size_t rows = target.shape.layers.size(), devices = target.topology.gpus();
  fields.whole("moe_layer_count", rows, rows);
  const Json::Array* layers = fields.array("layer_list", rows);
  MOESAIC_TRY(fields.finish());
  std::size_t per_device = 0;
  std::vector<ExpertId> slots;
  for (std::size_t row = 0; row < rows; ++row) {
    Fields layer((*layers)[row], target.where, fmt::format("layer_list[{}]", row));
    layer.whole("layer_id", row, row);
    layer.whole("device_count", devices, devices);
    const Json::Array* list = layer.array("device_list", devices);
    MOESAIC_TRY(layer.finish());
    for (std::size_t id = 0; id < devices; ++id) {
      Fields device((*list)[id], target.where, fmt::format("layer_list[{}].device_list[{}]", row, id));
      device.whole("device_id", id, id);
      const auto held = device.wholes("device_expert", limits::kMaxSlots, 0, target.shape.experts - 1);
      if (row == 0 && id == 0) per_device = held.size();
      if (held.size() != per_device) {
        device.fail("device_expert", (*list)[id].find("device_expert"),
                    fmt::format("{} experts as on the first device", per_device));
      }
      MOESAIC_TRY(device.finish());
      for (const std::uint64_t expert : held) slots.push_back(ExpertId(expert));
      if (first_repeat(std::span(slots).last(per_device)) < per_device) {
        return bad_input(
            fmt::format("{}: {}: found an expert twice, expected its copies on different devices",
                        target.where, device.path_of("device_expert")));
      }
    }
  }
  MOESAIC_ASSIGN(const std::size_t per_gpu, target.slots_per_gpu(per_device * devices, "layer_list"));
  return target.placement(per_gpu, std::move(slots));
}

}  // namespace moesaic::artifact::formats
