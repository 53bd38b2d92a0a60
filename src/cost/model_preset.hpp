// Models by name: their MoE shape and the sizes that turn counts into bytes. The facts are those of each
// model's public config.json; `assumed` names the ones that are not. Other models come from YAML
// (cost/model_yaml.hpp). All values are constants: thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/model_shape.hpp"
#include "core/result.hpp"

namespace moesaic::cost {

/// How a number of an expert's weights is stored.
enum class WeightType {
  kBf16,   ///< 2 bytes
  kFp8,    ///< 1 byte, and a float32 scale a block of 128 x 128 (DeepSeek-V3 technical report, 3.3.2)
  kMxfp4,  ///< 4 bits, and an 8-bit scale a block of 32 (OCP Microscaling Formats 1.0)
};

/// How a hidden state travels to the experts. It always comes back as bf16.
enum class DispatchType {
  kFp8,   ///< 1 byte a number, and a float32 scale for 128 numbers (DeepEP)
  kBf16,  ///< 2 bytes a number
};

struct ModelPreset {
  std::string name;                  ///< "deepseek-v3"
  std::vector<std::string> aliases;  ///< other spellings, lower case with '-', for names and folders
  ModelShape shape;                  ///< shape.model == name
  std::size_t hidden_size = 0;
  std::size_t expert_intermediate_size = 0;  ///< of a routed expert
  WeightType weights = WeightType::kBf16;    ///< as the public checkpoint stores experts
  DispatchType dispatch = DispatchType::kFp8;
  std::int64_t kv_bytes_per_token = 0;  ///< bf16 KV cache, all layers
  std::string source;                   ///< where the numbers are read
  std::string assumed;                  ///< which are not public, or empty

  bool operator==(const ModelPreset&) const = default;
};

/// Bytes of one routed expert: gate, up and down matrices of hidden x intermediate, without biases.
std::int64_t expert_bytes(const ModelPreset& model, WeightType weights);
inline std::int64_t expert_bytes(const ModelPreset& model) { return expert_bytes(model, model.weights); }

/// Bytes of one copy of a token's hidden state on its way to an expert.
std::int64_t dispatch_bytes(const ModelPreset& model);
/// Bytes of one result on its way back: hidden x bf16.
std::int64_t combine_bytes(const ModelPreset& model);
/// Both ways: what one copy of `traffic` costs.
inline std::int64_t copy_bytes(const ModelPreset& model) {
  return dispatch_bytes(model) + combine_bytes(model);
}

/// The built-in models, by name.
std::span<const ModelPreset> model_presets();

/// By name or alias; case and punctuation do not matter ("DeepSeek_V3"). The error (bad input) lists the
/// names there are.
Result<const ModelPreset*> find_preset(std::string_view name);

/// The model whose name or alias stands in a folder or file name, as whole words; the last part of the
/// path that names one decides, and in it the longest name. "traces/Llama-4-Maverick-17B-mmlu-anatomy/1.json"
/// -> llama-4-maverick. nullptr when none is named.
const ModelPreset* preset_for_folder(std::string_view path);

/// Positive sizes, a valid shape.
Status validate(const ModelPreset& model);

std::string_view to_string(WeightType type);
std::string_view to_string(DispatchType type);

}  // namespace moesaic::cost
