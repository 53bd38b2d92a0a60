#include "cost/model_yaml.hpp"

namespace moesaic::cost {
namespace {

constexpr const char* kWhole =
    "name: my-moe\naliases: [mymoe]\nsource: internal\nmodel_layers: 6\nmoe_layers: [1, 3, 5]\nexperts: 16\n"
    "top_k: 2\nhidden_size: 256\nexpert_intermediate_size: 512\nweights: fp8\ndispatch: bf16\n"
    "kv_bytes_per_token: 1024\n";

TEST(ModelYaml, ReadsAWholeModel) {
  const auto model = read_model(kWhole, "m.yaml");
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(model->shape, (ModelShape{"my-moe", 6, {LayerId{1}, LayerId{3}, LayerId{5}}, 16, 2}));
  EXPECT_EQ(model->aliases, std::vector<std::string>{"mymoe"});
  EXPECT_EQ(model->weights, WeightType::kFp8);
  EXPECT_EQ(model->dispatch, DispatchType::kBf16);
  EXPECT_EQ(model->kv_bytes_per_token, 1024);
  EXPECT_EQ(copy_bytes(*model), 4 * 256);
}

TEST(ModelYaml, ADenseStartAndAStepAreShortForms) {
  const std::string head =
      "name: a\nmodel_layers: 7\nexperts: 8\ntop_k: 1\nhidden_size: 8\nexpert_intermediate_size: 8\n";
  const auto layers = [&](const std::string& more) {
    std::vector<std::size_t> out;
    const auto model = read_model(head + more, "m.yaml");
    EXPECT_TRUE(model) << model.error().message;
    if (model) {
      for (const LayerId layer : model->shape.layers) out.push_back(index(layer));
    }
    return out;
  };
  EXPECT_EQ(layers(""), (std::vector<std::size_t>{0, 1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(layers("moe_layers: {first: 1, step: 2}\n"), (std::vector<std::size_t>{1, 3, 5}));
  EXPECT_EQ(layers("moe_layers: {first: 3}\n"), (std::vector<std::size_t>{3, 4, 5, 6}));
}

TEST(ModelYaml, EveryMistakeNamesFileLineAndKey) {
  const auto refused = [](const std::string& from, const std::string& to, const char* part) {
    std::string text = kWhole;
    text.replace(text.find(from), from.size(), to);
    const auto model = read_model(text, "m.yaml");
    ASSERT_FALSE(model) << to;
    EXPECT_EQ(model.error().kind, ErrorKind::kBadInput);
    EXPECT_TRUE(model.error().message.starts_with("m.yaml, line")) << model.error().message;
    EXPECT_NE(model.error().message.find(part), std::string::npos) << model.error().message;
  };
  refused("name: my-moe\n", "", "\"name\" is missing");
  refused("name: my-moe", "name: \"\"", "name is empty");
  refused("experts: 16", "experts: many", "line 6: experts is \"many\"");
  refused("experts: 16", "expert: 16", "unknown key \"expert\"");
  refused("experts: 16", "experts: 1", "at most 1 experts");
  refused("[1, 3, 5]", "[1, 3, 6]", "from 0 to 5");
  refused("[1, 3, 5]", "[3, 1]", "ascending");
  refused("[1, 3, 5]", "[]", "at least one");
  refused("[1, 3, 5]", "{first: 1, every: 2}", "unknown key \"every\"");
  refused("hidden_size: 256", "hidden_size: 0", "hidden_size");
  refused("weights: fp8", "weights: int3", "one of bf16, fp8, mxfp4");
  refused("dispatch: bf16", "dispatch: fp4", "one of fp8, bf16");
  refused("aliases: [mymoe]", "aliases: [[x]]", "aliases is a list");
}

}  // namespace
}  // namespace moesaic::cost
