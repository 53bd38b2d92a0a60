#include "cost/model_preset.hpp"

#include <fmt/format.h>

#include "cost/model_table.hpp"

namespace moesaic::cost {
namespace {

constexpr std::size_t kMaxWidth = 1u << 20;
constexpr std::int64_t kMaxKvBytes = std::int64_t{1} << 40;

constexpr std::int64_t blocks(std::size_t size, std::size_t block) {
  return static_cast<std::int64_t>((size + block - 1) / block);
}

/// Lower case; every run of other characters than letters and digits is one '-'; '-' at both ends.
std::string words(std::string_view text) {
  std::string out = "-";
  for (const char c : text) {
    const bool upper = c >= 'A' && c <= 'Z';
    const bool word = upper || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    if (word) {
      out += upper ? static_cast<char>(c - 'A' + 'a') : c;
    } else if (out.back() != '-') {
      out += '-';
    }
  }
  if (out.back() != '-') out += '-';
  return out;
}

template <class Visit>
void each_name(const ModelPreset& model, Visit visit) {
  visit(words(model.name));
  for (const std::string& alias : model.aliases) visit(words(alias));
}

const ModelPreset* longest_named_in(std::string_view part) {
  const std::string text = words(part);
  const ModelPreset* best = nullptr;
  std::size_t best_size = 0;
  for (const ModelPreset& model : model_presets()) {
    each_name(model, [&](const std::string& name) {
      if (name.size() > best_size && text.find(name) != std::string::npos) {
        best = &model;
        best_size = name.size();
      }
    });
  }
  return best;
}

}  // namespace

std::int64_t expert_bytes(const ModelPreset& model, WeightType weights) {
  const auto numbers = static_cast<std::int64_t>(model.hidden_size * model.expert_intermediate_size) * 3;
  switch (weights) {
    case WeightType::kBf16:
      return 2 * numbers;
    case WeightType::kFp8:
      return numbers + 12 * blocks(model.hidden_size, 128) * blocks(model.expert_intermediate_size, 128);
    case WeightType::kMxfp4:
      return numbers / 2 + blocks(static_cast<std::size_t>(numbers), 32);
  }
  return 0;
}

std::int64_t dispatch_bytes(const ModelPreset& model) {
  const auto hidden = static_cast<std::int64_t>(model.hidden_size);
  return model.dispatch == DispatchType::kFp8 ? hidden + 4 * blocks(model.hidden_size, 128) : 2 * hidden;
}

std::int64_t combine_bytes(const ModelPreset& model) {
  return 2 * static_cast<std::int64_t>(model.hidden_size);
}

std::span<const ModelPreset> model_presets() {
  static const std::vector<ModelPreset> models = model_table();
  return models;
}

Result<const ModelPreset*> find_preset(std::string_view name) {
  const std::string wanted = words(name);
  const ModelPreset* found = nullptr;
  std::string names;
  for (const ModelPreset& model : model_presets()) {
    each_name(model, [&](const std::string& candidate) {
      if (candidate == wanted) found = &model;
    });
    names += (names.empty() ? "" : ", ") + model.name;
  }
  if (found) return found;
  return bad_input(fmt::format(
      "model \"{}\" is not known, expected one of {}; describe another model in a YAML file", name, names));
}

const ModelPreset* preset_for_folder(std::string_view path) {
  while (!path.empty()) {
    const std::size_t slash = path.rfind('/');
    const std::size_t begin = slash == std::string_view::npos ? 0 : slash + 1;
    if (const ModelPreset* model = longest_named_in(path.substr(begin))) return model;
    path = path.substr(0, begin == 0 ? 0 : slash);
  }
  return nullptr;
}

Status validate(const ModelPreset& model) {
  if (model.name.empty()) return bad_input("model: the name is empty, expected one");
  MOESAIC_TRY(moesaic::validate(model.shape));
  if (model.hidden_size == 0 || model.hidden_size > kMaxWidth) {
    return bad_input(
        fmt::format("model {}: hidden_size {}, expected 1 to {}", model.name, model.hidden_size, kMaxWidth));
  }
  if (model.expert_intermediate_size == 0 || model.expert_intermediate_size > kMaxWidth) {
    return bad_input(fmt::format("model {}: expert_intermediate_size {}, expected 1 to {}", model.name,
                                 model.expert_intermediate_size, kMaxWidth));
  }
  if (model.kv_bytes_per_token < 0 || model.kv_bytes_per_token > kMaxKvBytes) {
    return bad_input(fmt::format("model {}: kv_bytes_per_token {}, expected 0 to {}", model.name,
                                 model.kv_bytes_per_token, kMaxKvBytes));
  }
  return {};
}

std::string_view to_string(WeightType type) {
  switch (type) {
    case WeightType::kBf16:
      return "bf16";
    case WeightType::kFp8:
      return "fp8";
    case WeightType::kMxfp4:
      return "mxfp4";
  }
  return "";
}

std::string_view to_string(DispatchType type) { return type == DispatchType::kFp8 ? "fp8" : "bf16"; }

}  // namespace moesaic::cost
