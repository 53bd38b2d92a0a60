#include "cost/model_preset.hpp"

#include <algorithm>
#include <set>

namespace moesaic::cost {
namespace {

TEST(ModelPreset, EveryEntryIsValidSourcedAndNamedOnce) {
  std::set<std::string> names;
  for (const ModelPreset& model : model_presets()) {
    EXPECT_TRUE(validate(model)) << model.name;
    EXPECT_EQ(model.shape.model, model.name);
    EXPECT_FALSE(model.source.empty()) << model.name;
    EXPECT_GT(model.kv_bytes_per_token, 0) << model.name;
    EXPECT_TRUE(names.insert(model.name).second) << model.name;
    for (const std::string& alias : model.aliases) EXPECT_TRUE(names.insert(alias).second) << alias;
    EXPECT_EQ(*find_preset(model.name), &model);
    for (const std::string& alias : model.aliases) EXPECT_EQ(*find_preset(alias), &model) << alias;
  }
  EXPECT_TRUE(std::ranges::is_sorted(model_presets(), {}, &ModelPreset::name));
}

TEST(ModelPreset, ShapesAreThoseOfTheModelsAndTheirTraces) {
  struct Expected {
    const char* name;
    std::size_t model_layers, moe_layers, first, experts, top_k;
  };
  for (const Expected& e :
       {Expected{"llama-4-maverick", 48, 24, 1, 128, 1}, Expected{"deepseek-v3", 61, 58, 3, 256, 8},
        Expected{"deepseek-v2-lite", 27, 26, 1, 64, 6}, Expected{"glm-5.2", 78, 75, 3, 256, 8},
        Expected{"gpt-oss-20b", 24, 24, 0, 32, 4}, Expected{"gpt-oss-120b", 36, 36, 0, 128, 4},
        Expected{"kimi-k2", 61, 60, 1, 384, 8}, Expected{"mixtral-8x7b", 32, 32, 0, 8, 2},
        Expected{"moesaic-mini", 6, 6, 0, 32, 4}, Expected{"qwen1.5-moe-a2.7b", 24, 24, 0, 60, 4},
        Expected{"qwen3-235b-a22b", 94, 94, 0, 128, 8}, Expected{"qwen3-30b-a3b", 48, 48, 0, 128, 8}}) {
    const auto model = find_preset(e.name);
    ASSERT_TRUE(model) << e.name;
    const ModelShape& shape = (*model)->shape;
    EXPECT_EQ(shape.model_layers, e.model_layers) << e.name;
    EXPECT_EQ(shape.layers.size(), e.moe_layers) << e.name;
    EXPECT_EQ(index(shape.layers.front()), e.first) << e.name;
    EXPECT_EQ(shape.experts, e.experts) << e.name;
    EXPECT_EQ(shape.top_k, e.top_k) << e.name;
  }
  EXPECT_EQ(index((*find_preset("llama-4-maverick"))->shape.layers.back()), 47u);
}

TEST(ModelPreset, BytesOfDeepSeekV3AreThoseOfDeepEpAndItsCheckpoint) {
  const ModelPreset& model = **find_preset("deepseek-v3");
  EXPECT_EQ(dispatch_bytes(model), 7168 + 56 * 4);  // DeepEP: 7168 numbers and 56 float32 scales
  EXPECT_EQ(combine_bytes(model), 14336);
  EXPECT_EQ(copy_bytes(model), 7392 + 14336);
  EXPECT_EQ(expert_bytes(model), 3 * (7168 * 2048 + 56 * 16 * 4));
  EXPECT_EQ(expert_bytes(model, WeightType::kBf16), 3 * 7168 * 2048 * 2);
  EXPECT_EQ(expert_bytes(model, WeightType::kMxfp4), 3 * 7168 * 2048 / 2 + 3 * 7168 * 2048 / 32);
  ModelPreset bf16 = model;
  bf16.dispatch = DispatchType::kBf16;
  EXPECT_EQ(dispatch_bytes(bf16), 14336);
}

TEST(ModelPreset, ExpertsOfGptOssFitItsPublishedCheckpointSize) {
  // The model card gives 12.8 GiB for the 20b checkpoint, nearly all of it experts in mxfp4.
  const ModelPreset& model = **find_preset("gpt-oss-20b");
  const double gib = static_cast<double>(expert_bytes(model)) * 32 * 24 / (1024.0 * 1024 * 1024);
  EXPECT_GT(gib, 9);
  EXPECT_LT(gib, 12.8);
}

TEST(ModelPreset, AModelIsKnownByItsFolder) {
  const std::pair<const char*, const char*> cases[] = {
      {"llama4-maverick-mmlu", "llama-4-maverick"},
      {"Llama-4-Maverick-17B-128E-Instruct-FP8-mmlu-anatomy", "llama-4-maverick"},
      {"/data/llama4-maverick-mmlu/anatomy.tar.xz", "llama-4-maverick"},
      {"deepseek-v3-sglang-counts/decode_in2000out100.json", "deepseek-v3"},
      {"DeepSeek-R1-0528-gsm8k", "deepseek-v3"},
      {"deepseek-v2-lite-prefill", "deepseek-v2-lite"},
      {"gpt-oss-20b-decode/", "gpt-oss-20b"},
      {"gpt-oss-120b", "gpt-oss-120b"},
      {"glm-5.2-prefill-counts", "glm-5.2"},
      {"mixtral-8x7b-mmlu-questions", "mixtral-8x7b"},
      {"moesaic-mini", "moesaic-mini"},
      {"qwen1.5-moe-prompts", "qwen1.5-moe-a2.7b"},
      {"Qwen3-235B-A22B-Instruct-mmlu-law", "qwen3-235b-a22b"},
      {"qwen3_30b_a3b", "qwen3-30b-a3b"},
      {"Kimi-K2-Instruct-humaneval", "kimi-k2"},
      {"gpt-oss-20b/deepseek-v3", "deepseek-v3"},  // the last part that names a model decides
  };
  for (const auto& [folder, name] : cases) {
    const ModelPreset* model = preset_for_folder(folder);
    ASSERT_NE(model, nullptr) << folder;
    EXPECT_EQ(model->name, name) << folder;
  }
  for (const char* folder : {"", "/", "traces", "llama", "deepseek-v31", "xgpt-oss-20bx"}) {
    EXPECT_EQ(preset_for_folder(folder), nullptr) << folder;
  }
}

TEST(ModelPreset, NamesAreFoundInAnySpellingAndUnknownOnesAreListed) {
  EXPECT_EQ((*find_preset("DeepSeek_V3"))->name, "deepseek-v3");
  EXPECT_EQ((*find_preset("GPT OSS 20B"))->name, "gpt-oss-20b");
  const auto missing = find_preset("gpt-2");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().kind, ErrorKind::kBadInput);
  EXPECT_NE(missing.error().message.find("\"gpt-2\""), std::string::npos);
  EXPECT_NE(missing.error().message.find("mixtral-8x7b"), std::string::npos);
}

TEST(ModelPreset, AWrongSizeIsRefusedByName) {
  const auto refused = [](auto change, const char* word) {
    ModelPreset model = model_presets().front();
    change(model);
    const Status status = validate(model);
    ASSERT_FALSE(status) << word;
    EXPECT_NE(status.error().message.find(word), std::string::npos) << status.error().message;
  };
  refused([](ModelPreset& m) { m.name.clear(); }, "name");
  refused([](ModelPreset& m) { m.shape.top_k = 0; }, "experts a token");
  refused([](ModelPreset& m) { m.hidden_size = 0; }, "hidden_size");
  refused([](ModelPreset& m) { m.expert_intermediate_size = 1u << 30; }, "expert_intermediate_size");
  refused([](ModelPreset& m) { m.kv_bytes_per_token = -1; }, "kv_bytes_per_token");
}

}  // namespace
}  // namespace moesaic::cost
