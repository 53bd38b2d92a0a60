// TensorRT-LLM: moe_config.load_balancer, a YAML file (read against MoeLoadBalancerConfig of
// llmapi/llm_args.py, which refuses other keys). Exactly initial_global_assignments {model layer: [expert of
// slot]}, layer_updates_per_iter and num_slots; slot s lives on rank s / (num_slots / ep_size).
#include <fmt/format.h>

#include <charconv>

#include "artifact/engine_formats.hpp"
#include "core/config.hpp"
#include "core/limits.hpp"

namespace moesaic::artifact::formats {

Result<Export> write_trtllm(const Plan& plan, const std::string& file) {
  const Placement& placement = plan.placement;
  std::string text = "initial_global_assignments:\n";
  for (std::size_t row = 0; row < placement.layers().size(); ++row) {
    text += fmt::format("  {}: [", index(placement.layers()[row]));
    for (std::size_t slot = 0; slot < placement.slots(); ++slot) {
      text += fmt::format("{}{}", slot == 0 ? "" : ", ", index(placement.layer(row)[slot]));
    }
    text += "]\n";
  }
  text += fmt::format("layer_updates_per_iter: 0\nnum_slots: {}\n", placement.slots());
  Export written{.bytes = std::move(text), .launch = {}, .warnings = {}};
  written.launch = fmt::format(
      "--ep_size {} --extra_llm_api_options options.yaml\n"
      "options.yaml: {{\"moe_config\": {{\"load_balancer\": \"{}\"}}}}",
      placement.topology().gpus(), file);
  return written;
}

Result<Placement> read_trtllm(std::string_view text, const Target& target) {
  MOESAIC_ASSIGN(const ConfigNode root, parse_config(text, target.where));
  MOESAIC_TRY(root.check_keys({"initial_global_assignments", "layer_updates_per_iter", "num_slots"}));
  MOESAIC_ASSIGN(const std::size_t slots, root.count("num_slots", 1, limits::kMaxSlots));
  MOESAIC_TRY(root.count("layer_updates_per_iter", 0, limits::kMaxLayers));
  MOESAIC_ASSIGN(const std::size_t per_gpu, target.slots_per_gpu(slots, "num_slots"));
  MOESAIC_ASSIGN(const ConfigNode* const layers, root.at("initial_global_assignments"));
  if (layers->members().size() != target.shape.layers.size()) {
    return bad_input(
        fmt::format("{}: initial_global_assignments: found {} layers, expected the model's {} MoE layers",
                    layers->place(), layers->members().size(), target.shape.layers.size()));
  }
  std::vector<ExpertId> out;
  for (const LayerId layer : target.shape.layers) {
    const std::string key = fmt::format("{}", index(layer));
    MOESAIC_ASSIGN(const ConfigNode* const row, layers->at(key));
    if (row->kind() != ConfigNode::Kind::kSequence || row->items().size() != slots) {
      return bad_input(fmt::format("{}: layer {}: found {} items, expected a list of {} slots", row->place(),
                                   key, row->items().size(), slots));
    }
    for (const ConfigNode& item : row->items()) {
      MOESAIC_ASSIGN(const std::uint64_t expert, item.to_count(key, 0, target.shape.experts - 1));
      out.push_back(ExpertId(expert));
    }
  }
  return target.placement(per_gpu, std::move(out));
}

}  // namespace moesaic::artifact::formats
