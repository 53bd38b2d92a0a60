#include "artifact/prompt_model_json.hpp"

#include <fmt/format.h>

#include <bit>

#include "artifact/assigner_json.hpp"
#include "io/base64.hpp"

namespace moesaic::artifact {
namespace {

Json numbers(std::span<const float> values) {
  Json::Array out;
  for (const float value : values) out.emplace_back(shortest_decimal(value));
  return out;
}

std::vector<float> read_numbers(Fields& fields, std::string_view key, std::size_t count) {
  std::vector<float> out;
  const Json::Array* items = fields.array(key, count);
  for (std::size_t i = 0; items != nullptr && i < items->size(); ++i) {
    double value = 0;
    if (!(*items)[i].to_double(value)) fields.fail(key, &(*items)[i], "numbers");
    out.push_back(static_cast<float>(value));
  }
  return out;
}

}  // namespace

Json prompt_model_json(const signature::PromptModel& model) {
  Json::Array usage, weights;
  for (std::size_t g = 0; g < model.groups(); ++g) {
    usage.push_back(numbers(model.usage_of(g)));
    const auto row = std::span(model.weights).subspan(g * model.features.buckets, model.features.buckets);
    weights.emplace_back(io::encode_base64(std::as_bytes(row)));
  }
  Json out;
  out["grams"] = model.features.grams;
  out["buckets"] = model.features.buckets;
  out["max_bytes"] = model.features.max_bytes;
  out["bias"] = numbers(model.bias);
  out["scale"] = numbers(model.scale);
  out["usage"] = std::move(usage);
  out["weights"] = std::move(weights);
  return out;
}

signature::PromptModel read_prompt_model(Fields& parent, std::string_view key, const ModelShape& shape,
                                         std::size_t groups) {
  const Json json = parent.object(key);
  Fields fields(json, parent.where(), parent.path_of(key));
  signature::PromptModel model;
  model.cells = shape.layers.size() * shape.experts;
  const auto whole = [&](const char* name, std::uint64_t high) {
    return static_cast<std::uint32_t>(fields.whole(name, 1, high));
  };
  model.features = {.grams = whole("grams", signature::kMaxPromptGrams),
                    .buckets = whole("buckets", signature::kMaxPromptBuckets),
                    .max_bytes = whole("max_bytes", 1 << 24)};
  model.bias = read_numbers(fields, "bias", groups);
  model.scale = read_numbers(fields, "scale", groups);
  fields.matrix("usage", groups, model.cells, "a number", [&](const Json& item) {
    double value = 0;
    if (!item.to_double(value)) return false;
    model.usage.push_back(static_cast<float>(value));
    return true;
  });
  const Json::Array* rows = fields.array("weights", groups);
  for (std::size_t g = 0; fields.ok() && g < rows->size(); ++g) {
    const std::string* text = (*rows)[g].as_string();
    const std::string expected = fmt::format("base64 of {} bytes a group", model.features.buckets);
    const auto bytes = text == nullptr ? Result<std::vector<std::byte>>(std::vector<std::byte>())
                                       : io::decode_base64(*text, parent.where(), model.features.buckets);
    if (!bytes || bytes->size() != model.features.buckets) {
      fields.fail("weights", &(*rows)[g], expected);
      break;
    }
    for (const std::byte byte : *bytes) model.weights.push_back(std::bit_cast<std::int8_t>(byte));
  }
  if (const Status status = fields.finish(); !status) {
    parent.fail(status.error());
    return model;
  }
  if (const Status valid = signature::validate(model); !valid) {
    parent.fail(Error{ErrorKind::kBadInput,
                      fmt::format("{}: {}: {}", parent.where(), parent.path_of(key), valid.error().message)});
  }
  return model;
}

}  // namespace moesaic::artifact
