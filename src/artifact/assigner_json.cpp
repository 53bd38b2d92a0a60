#include "artifact/assigner_json.hpp"

#include <fmt/format.h>

#include <array>
#include <charconv>

#include "core/limits.hpp"

namespace moesaic::artifact {
namespace {

constexpr std::size_t kMaxTargets = limits::kMaxGpus;

Json rows_json(std::span<const float> values, std::size_t columns) {
  Json::Array rows;
  for (std::size_t begin = 0; begin < values.size(); begin += columns) {
    Json::Array row;
    row.reserve(columns);
    for (const float value : values.subspan(begin, columns)) row.emplace_back(shortest_decimal(value));
    rows.emplace_back(std::move(row));
  }
  return rows;
}

std::vector<float> read_rows(Fields& fields, std::string_view key, std::size_t rows, std::size_t columns) {
  std::vector<float> values;
  fields.matrix(key, rows, columns, "a number", [&](const Json& item) {
    double value = 0;
    if (!item.to_double(value)) return false;
    values.push_back(static_cast<float>(value));
    return true;
  });
  return values;
}

}  // namespace

double shortest_decimal(float value) {
  if (value == 0) return 0;  // one zero
  std::array<char, 32> text;
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  double decimal = 0;
  std::from_chars(text.data(), end, decimal);
  // Rounding twice (decimal to double to float) could miss; then the float's own double is exact.
  return static_cast<float>(decimal) == value ? decimal : static_cast<double>(value);
}

Json assigner_json(const signature::Assigner& assigner) {
  const signature::Space& space = assigner.space;
  Json::Array layers, capacities;
  for (const LayerId layer : space.layers) layers.emplace_back(index(layer));
  for (const double capacity : assigner.capacities) capacities.emplace_back(capacity);
  Json out;
  out["target"] = name(assigner.target);
  out["transform"] = name(space.transform);
  out["layers"] = std::move(layers);
  out["experts"] = space.experts;
  out["idf"] = space.idf.empty() ? Json() : rows_json(space.idf, space.experts);
  out["prototypes"] = rows_json(assigner.prototypes, space.width());
  out["capacities"] = std::move(capacities);
  return out;
}

signature::Assigner read_assigner(Fields& parent, std::string_view key, const ModelShape& shape) {
  const Json json = parent.object(key);
  Fields fields(json, parent.where(), parent.path_of(key));
  signature::Assigner assigner;
  signature::Space& space = assigner.space;
  space.experts = fields.whole("experts", 1, limits::kMaxExperts);
  for (const std::uint64_t layer : fields.wholes("layers", limits::kMaxLayers, 0, limits::kMaxLayers - 1)) {
    space.layers.push_back(LayerId(layer));
  }
  if (const auto transform = signature::parse_transform(fields.text("transform"))) {
    space.transform = *transform;
  } else {
    fields.fail("transform", json.find("transform"),
                "count, count_idf, sqrt_count, binary or gate_probability");
  }
  if (const auto target = signature::parse_target(fields.text("target"))) {
    assigner.target = *target;
  } else {
    fields.fail("target", json.find("target"), "home or decoder");
  }
  if (const Json::Array* capacities = fields.array("capacities", kMaxTargets, false)) {
    for (const Json& item : *capacities) {
      double share = 0;
      if (!item.to_double(share)) fields.fail("capacities", &item, "numbers");
      assigner.capacities.push_back(share);
    }
  }
  if (fields.optional_member("idf") != nullptr) {
    space.idf = read_rows(fields, "idf", space.layers.size(), space.experts);
  }
  assigner.prototypes = read_rows(fields, "prototypes", assigner.capacities.size(), space.width());
  if (const Status status = fields.finish(); !status) {
    parent.fail(status.error());
    return assigner;
  }
  Status valid = signature::validate(assigner);
  if (valid) valid = signature::bind(space, shape);
  if (!valid) {
    parent.fail(Error{ErrorKind::kBadInput,
                      fmt::format("{}: {}: {}", parent.where(), parent.path_of(key), valid.error().message)});
  }
  return assigner;
}

}  // namespace moesaic::artifact
