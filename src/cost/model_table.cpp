// Sources: config.json of each model's public repository (named in `source`); the field names are theirs.
// Shared (always active) experts are not routed and so are not counted.
#include "cost/model_table.hpp"

namespace moesaic::cost {
namespace {

/// MoE layers first, first + step, ... below model_layers.
ModelShape shape_of(std::string model, std::size_t model_layers, std::size_t first, std::size_t step,
                    std::size_t experts, std::size_t top_k) {
  ModelShape shape{.model = std::move(model),
                   .model_layers = model_layers,
                   .layers = {},
                   .experts = experts,
                   .top_k = top_k};
  for (std::size_t layer = first; layer < model_layers; layer += step) {
    shape.layers.push_back(static_cast<LayerId>(layer));
  }
  return shape;
}

/// Keys and values of num_key_value_heads x head_dim, bf16.
constexpr std::int64_t grouped_query_kv(std::int64_t layers, std::int64_t kv_heads, std::int64_t head_dim) {
  return layers * 2 * kv_heads * head_dim * 2;
}

/// kv_lora_rank + qk_rope_head_dim numbers, bf16 (multi-head latent attention, arXiv:2405.04434 2.1).
constexpr std::int64_t latent_kv(std::int64_t layers) { return layers * (512 + 64) * 2; }

}  // namespace

std::vector<ModelPreset> model_table() {
  return {
      // first_k_dense_replace 1, n_routed_experts 64, num_experts_per_tok 6, moe_intermediate_size 1408.
      {.name = "deepseek-v2-lite",
       .aliases = {},
       .shape = shape_of("deepseek-v2-lite", 27, 1, 1, 64, 6),
       .hidden_size = 2048,
       .expert_intermediate_size = 1408,
       .weights = WeightType::kBf16,
       .kv_bytes_per_token = latent_kv(27),
       .source = "huggingface.co/deepseek-ai/DeepSeek-V2-Lite config.json",
       .assumed = ""},
      // first_k_dense_replace 3, n_routed_experts 256, num_experts_per_tok 8, moe_intermediate_size 2048,
      // fp8 blocks of 128 x 128. R1 has the same shape.
      {.name = "deepseek-v3",
       .aliases = {"deepseek-r1", "deepseekv3", "deepseek-v3-r1", "dsv3"},
       .shape = shape_of("deepseek-v3", 61, 3, 1, 256, 8),
       .hidden_size = 7168,
       .expert_intermediate_size = 2048,
       .weights = WeightType::kFp8,
       .kv_bytes_per_token = latent_kv(61),
       .source = "huggingface.co/deepseek-ai/DeepSeek-V3 config.json",
       .assumed = ""},
      // GLM-5 (glm_moe_dsa): hidden_size 6144, moe_intermediate_size 2048, n_routed_experts 256,
      // first_k_dense_replace 3, num_hidden_layers 78, num_experts_per_tok 8.
      {.name = "glm-5.2",
       .aliases = {"glm-5", "glm5"},
       .shape = shape_of("glm-5.2", 78, 3, 1, 256, 8),
       .hidden_size = 6144,
       .expert_intermediate_size = 2048,
       .weights = WeightType::kBf16,
       .kv_bytes_per_token = latent_kv(78),
       .source =
           "huggingface.co/zai-org/GLM-5 config.json; layers and experts as in the public GLM-5.2 counts",
       .assumed = "GLM-5.2 keeps the widths of GLM-5"},
      // num_local_experts 128, num_experts_per_tok 4; experts in mxfp4; the KV figure ignores that every
      // second layer attends to 128 tokens only.
      {.name = "gpt-oss-120b",
       .aliases = {"gptoss-120b"},
       .shape = shape_of("gpt-oss-120b", 36, 0, 1, 128, 4),
       .hidden_size = 2880,
       .expert_intermediate_size = 2880,
       .weights = WeightType::kMxfp4,
       .kv_bytes_per_token = grouped_query_kv(36, 8, 64),
       .source = "huggingface.co/openai/gpt-oss-120b config.json",
       .assumed = ""},
      {.name = "gpt-oss-20b",
       .aliases = {"gptoss-20b", "gpt-oss"},
       .shape = shape_of("gpt-oss-20b", 24, 0, 1, 32, 4),
       .hidden_size = 2880,
       .expert_intermediate_size = 2880,
       .weights = WeightType::kMxfp4,
       .kv_bytes_per_token = grouped_query_kv(24, 8, 64),
       .source = "huggingface.co/openai/gpt-oss-20b config.json",
       .assumed = ""},
      // n_routed_experts 384, num_experts_per_tok 8, first_k_dense_replace 1, otherwise DeepSeek-V3's.
      {.name = "kimi-k2",
       .aliases = {"kimik2"},
       .shape = shape_of("kimi-k2", 61, 1, 1, 384, 8),
       .hidden_size = 7168,
       .expert_intermediate_size = 2048,
       .weights = WeightType::kFp8,
       .kv_bytes_per_token = latent_kv(61),
       .source = "huggingface.co/moonshotai/Kimi-K2-Instruct config.json",
       .assumed = ""},
      // text_config: interleave_moe_layer_step 2 (odd layers), num_local_experts 128, top 1,
      // intermediate_size 8192 (the experts'; dense layers have intermediate_size_mlp 16384).
      {.name = "llama-4-maverick",
       .aliases = {"llama4-maverick", "maverick"},
       .shape = shape_of("llama-4-maverick", 48, 1, 2, 128, 1),
       .hidden_size = 5120,
       .expert_intermediate_size = 8192,
       .weights = WeightType::kBf16,
       .kv_bytes_per_token = grouped_query_kv(48, 8, 128),
       .source = "huggingface.co/meta-llama/Llama-4-Maverick-17B-128E config.json",
       .assumed = ""},
      {.name = "mixtral-8x7b",
       .aliases = {},
       .shape = shape_of("mixtral-8x7b", 32, 0, 1, 8, 2),
       .hidden_size = 4096,
       .expert_intermediate_size = 14336,
       .weights = WeightType::kBf16,
       .kv_bytes_per_token = grouped_query_kv(32, 8, 128),
       .source = "huggingface.co/mistralai/Mixtral-8x7B-v0.1 config.json",
       .assumed = ""},
      // A 12.4 M parameter model made for this project's tests; only its routing shape was recorded.
      {.name = "moesaic-mini",
       .aliases = {},
       .shape = shape_of("moesaic-mini", 6, 0, 1, 32, 4),
       .hidden_size = 128,
       .expert_intermediate_size = 128,
       .weights = WeightType::kBf16,
       .kv_bytes_per_token = grouped_query_kv(6, 4, 32),
       .source = "the shape of its trace",
       .assumed = "hidden_size, expert_intermediate_size and kv_bytes_per_token are a guess that fits 12.4 M "
                  "parameters"},
      // num_experts 60, num_experts_per_tok 4, moe_intermediate_size 1408, decoder_sparse_step 1.
      {.name = "qwen1.5-moe-a2.7b",
       .aliases = {"qwen1.5-moe", "qwen15-moe"},
       .shape = shape_of("qwen1.5-moe-a2.7b", 24, 0, 1, 60, 4),
       .hidden_size = 2048,
       .expert_intermediate_size = 1408,
       .weights = WeightType::kBf16,
       .kv_bytes_per_token = grouped_query_kv(24, 16, 128),
       .source = "huggingface.co/Qwen/Qwen1.5-MoE-A2.7B config.json",
       .assumed = ""},
      {.name = "qwen3-235b-a22b",
       .aliases = {"qwen3-235b"},
       .shape = shape_of("qwen3-235b-a22b", 94, 0, 1, 128, 8),
       .hidden_size = 4096,
       .expert_intermediate_size = 1536,
       .weights = WeightType::kBf16,
       .kv_bytes_per_token = grouped_query_kv(94, 4, 128),
       .source = "huggingface.co/Qwen/Qwen3-235B-A22B config.json",
       .assumed = ""},
      {.name = "qwen3-30b-a3b",
       .aliases = {"qwen3-30b"},
       .shape = shape_of("qwen3-30b-a3b", 48, 0, 1, 128, 8),
       .hidden_size = 2048,
       .expert_intermediate_size = 768,
       .weights = WeightType::kBf16,
       .kv_bytes_per_token = grouped_query_kv(48, 4, 128),
       .source = "huggingface.co/Qwen/Qwen3-30B-A3B config.json",
       .assumed = ""},
  };
}

}  // namespace moesaic::cost
