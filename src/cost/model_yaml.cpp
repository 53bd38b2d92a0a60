#include "cost/model_yaml.hpp"

#include <fmt/format.h>

#include "core/limits.hpp"

namespace moesaic::cost {
namespace {

constexpr std::uint64_t kMaxYamlWidth = 1u << 20;

Result<std::vector<LayerId>> read_moe_layers(const ConfigNode& model, std::size_t model_layers) {
  std::vector<LayerId> layers;
  const ConfigNode* node = model.find("moe_layers");
  if (node && node->kind() == ConfigNode::Kind::kSequence) {
    for (const ConfigNode& item : node->items()) {
      MOESAIC_ASSIGN(const std::uint64_t layer, item.to_count("moe_layers", 0, model_layers - 1));
      layers.push_back(static_cast<LayerId>(layer));
    }
    return layers;
  }
  std::uint64_t first = 0, step = 1;
  if (node) {
    MOESAIC_TRY(node->check_keys({"first", "step"}));
    MOESAIC_ASSIGN(first, node->count_or("first", 0, 0, model_layers - 1));
    MOESAIC_ASSIGN(step, node->count_or("step", 1, 1, model_layers));
  }
  for (std::uint64_t layer = first; layer < model_layers; layer += step) {
    layers.push_back(static_cast<LayerId>(layer));
  }
  return layers;
}

}  // namespace

Result<ModelPreset> read_model(const ConfigNode& node) {
  MOESAIC_TRY(node.check_keys({"name", "aliases", "source", "model_layers", "moe_layers", "experts", "top_k",
                               "hidden_size", "expert_intermediate_size", "weights", "dispatch",
                               "kv_bytes_per_token"}));
  ModelPreset model;
  MOESAIC_ASSIGN(model.name, node.text("name"));
  if (node.find("aliases") != nullptr) {
    MOESAIC_ASSIGN(const std::span<const ConfigNode> aliases, node.list("aliases"));
    for (const ConfigNode& item : aliases) {
      MOESAIC_ASSIGN(model.aliases.emplace_back(), item.to_text("aliases"));
    }
  }
  MOESAIC_ASSIGN(model.source, node.text_or("source", node.place()));
  model.shape.model = model.name;
  MOESAIC_ASSIGN(model.shape.model_layers, node.count("model_layers", 1, limits::kMaxLayers));
  MOESAIC_ASSIGN(model.shape.layers, read_moe_layers(node, model.shape.model_layers));
  MOESAIC_ASSIGN(model.shape.experts, node.count("experts", 1, limits::kMaxExperts));
  MOESAIC_ASSIGN(model.shape.top_k, node.count("top_k", 1, limits::kMaxTopK));
  MOESAIC_ASSIGN(model.hidden_size, node.count("hidden_size", 1, kMaxYamlWidth));
  MOESAIC_ASSIGN(model.expert_intermediate_size, node.count("expert_intermediate_size", 1, kMaxYamlWidth));
  MOESAIC_ASSIGN(const std::size_t weights, node.choice_or("weights", 0, {"bf16", "fp8", "mxfp4"}));
  model.weights = static_cast<WeightType>(weights);
  MOESAIC_ASSIGN(const std::size_t dispatch, node.choice_or("dispatch", 0, {"fp8", "bf16"}));
  model.dispatch = static_cast<DispatchType>(dispatch);
  MOESAIC_ASSIGN(const std::uint64_t kv, node.count_or("kv_bytes_per_token", 0, 0, std::uint64_t{1} << 40));
  model.kv_bytes_per_token = static_cast<std::int64_t>(kv);
  if (const Status status = validate(model); !status) {
    return bad_input(fmt::format("{}: {}", node.place(), status.error().message));
  }
  return model;
}

Result<ModelPreset> read_model(std::string_view text, std::string where) {
  MOESAIC_ASSIGN(const ConfigNode root, parse_config(text, std::move(where)));
  return read_model(root);
}

bool is_model_file(std::string_view name) { return name.ends_with(".yaml") || name.ends_with(".yml"); }

Result<ModelPreset> named_model(io::FileSystem& files, const std::string& name) {
  if (is_model_file(name)) {
    MOESAIC_ASSIGN(const std::string text, io::read_file(files, name, limits::kMaxConfigBytes));
    return read_model(text, name);
  }
  MOESAIC_ASSIGN(const ModelPreset* const preset, find_preset(name));
  return *preset;
}

}  // namespace moesaic::cost
