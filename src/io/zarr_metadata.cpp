#include "io/zarr_metadata.hpp"

#include <fmt/format.h>

#include <array>

#include "core/check.hpp"
#include "io/json.hpp"

namespace moesaic::io {
namespace {

struct TypeInfo {
  ZarrType type;
  std::string_view name;
  std::size_t width;
};
constexpr std::array<TypeInfo, 6> kTypes{{{ZarrType::kUint8, "uint8", 1},
                                          {ZarrType::kUint16, "uint16", 2},
                                          {ZarrType::kUint32, "uint32", 4},
                                          {ZarrType::kUint64, "uint64", 8},
                                          {ZarrType::kInt64, "int64", 8},
                                          {ZarrType::kFloat32, "float32", 4}}};

Json fill_value(ZarrType type) {
  switch (type) {
    case ZarrType::kUint8:
      return Json(0xFF);
    case ZarrType::kUint16:
      return Json(0xFFFF);
    case ZarrType::kUint32:
      return Json(0xFFFFFFFFu);
    case ZarrType::kFloat32:
      return Json("NaN");
    default:
      return Json(0);
  }
}

Json numbers(const std::vector<std::uint64_t>& values) {
  Json::Array array;
  for (const std::uint64_t value : values) array.emplace_back(value);
  return Json(std::move(array));
}

Json named(const char* name, Json configuration) {
  Json json;
  json["name"] = name;
  if (!configuration.is_null()) json["configuration"] = std::move(configuration);
  return json;
}

Json bytes_codec() {
  Json configuration;
  configuration["endian"] = "little";
  return named("bytes", std::move(configuration));
}

Json piece_codecs() {
  Json configuration;
  configuration["level"] = 5;
  configuration["checksum"] = true;
  return Json(Json::Array{bytes_codec(), named("zstd", std::move(configuration))});
}

Json codecs(const std::vector<std::uint64_t>& inner) {
  if (inner.empty()) return piece_codecs();
  Json configuration;
  configuration["chunk_shape"] = numbers(inner);
  configuration["codecs"] = piece_codecs();
  configuration["index_codecs"] = Json(Json::Array{bytes_codec(), named("crc32c", {})});
  configuration["index_location"] = "end";
  return Json(Json::Array{named("sharding_indexed", std::move(configuration))});
}

Json array_json(const ZarrArray& array) {
  Json grid;
  grid["chunk_shape"] = numbers(array.chunk);
  Json key;
  key["separator"] = ".";
  Json json;
  json["zarr_format"] = 3;
  json["node_type"] = "array";
  json["data_type"] = name(array.type);
  json["shape"] = numbers(array.shape);
  json["chunk_grid"] = named("regular", std::move(grid));
  json["chunk_key_encoding"] = named("default", std::move(key));
  json["codecs"] = codecs(array.inner);
  json["fill_value"] = fill_value(array.type);
  json["attributes"] = array.attributes.is_null() ? Json(Json::Object{}) : array.attributes;
  return json;
}

tl::unexpected<Error> wrong(const std::string& where, std::string_view key, const Json* found,
                            const std::string& expected) {
  std::string text = found == nullptr ? "nothing" : found->dump();
  if (text.size() > 80) text = text.substr(0, 80) + "...";
  return bad_input(fmt::format("{}: key \"{}\" is {}, expected {}; is this a store written by moesaic?",
                               where, key, text, expected));
}

Result<std::vector<std::uint64_t>> read_numbers(const Json* json, std::string_view key,
                                                const std::string& where) {
  const Json::Array* array = json == nullptr ? nullptr : json->as_array();
  if (array == nullptr || array->empty() || array->size() > 3) {
    return wrong(where, key, json, "a list of one to three whole numbers");
  }
  std::vector<std::uint64_t> values(array->size());
  for (std::size_t d = 0; d < values.size(); ++d) {
    if (!(*array)[d].to_uint(values[d])) return wrong(where, key, json, "whole numbers");
  }
  return values;
}

Result<Json> parse_node(std::string_view text, const std::string& where, std::string_view type) {
  MOESAIC_ASSIGN(Json json, parse_json(text, where));
  const Json* format = json.find("zarr_format");
  if (format == nullptr || *format != Json(3)) return wrong(where, "zarr_format", format, "3");
  const Json* node = json.find("node_type");
  if (node == nullptr || *node != Json(type))
    return wrong(where, "node_type", node, fmt::format("\"{}\"", type));
  const Json* attributes = json.find("attributes");
  if (attributes != nullptr && !attributes->is_object())
    return wrong(where, "attributes", attributes, "an object");
  return json;
}

/// a * b, or the largest number when that is more.
std::uint64_t saturating_product(std::uint64_t a, std::uint64_t b) {
  std::uint64_t product = 0;
  return __builtin_mul_overflow(a, b, &product) ? ~std::uint64_t{0} : product;
}

}  // namespace

std::size_t width(ZarrType type) { return kTypes[static_cast<std::size_t>(type)].width; }
std::string_view name(ZarrType type) { return kTypes[static_cast<std::size_t>(type)].name; }

std::uint64_t ZarrArray::piece_bytes() const {
  std::uint64_t bytes = width(type);
  for (const std::uint64_t n : piece()) bytes = saturating_product(bytes, n);
  return bytes;
}

std::uint64_t ZarrArray::pieces_per_chunk() const {
  std::uint64_t pieces = 1;
  for (std::size_t d = 0; d < chunk.size(); ++d) pieces = saturating_product(pieces, chunk[d] / piece()[d]);
  return pieces;
}

Status validate(const ZarrArray& array, const std::string& where) {
  const std::size_t dimensions = array.shape.size();
  if (dimensions == 0 || dimensions > 3 || array.chunk.size() != dimensions ||
      array.piece().size() != dimensions) {
    return bad_input(
        fmt::format("{}: shape, chunk and inner chunk have {}, {} and {} dimensions, expected one to "
                    "three, all the same",
                    where, dimensions, array.chunk.size(), array.piece().size()));
  }
  for (std::size_t d = 0; d < dimensions; ++d) {
    if (array.shape[d] > std::uint64_t{1} << 48 || array.chunk[d] == 0 ||
        array.chunk[d] > std::uint64_t{1} << 40 || array.piece()[d] == 0 ||
        array.chunk[d] % array.piece()[d] != 0) {
      return bad_input(
          fmt::format("{}: dimension {} has size {}, chunks of {} and inner chunks of {}, expected a "
                      "size up to 2^48 and inner chunks that divide the chunks",
                      where, d, array.shape[d], array.chunk[d], array.piece()[d]));
    }
  }
  if (array.piece_bytes() > kMaxPieceBytes || array.pieces_per_chunk() > kMaxPiecesPerChunk) {
    return bad_input(fmt::format("{}: inner chunks of {} bytes, {} a chunk, expected at most {} and {}",
                                 where, array.piece_bytes(), array.pieces_per_chunk(), kMaxPieceBytes,
                                 kMaxPiecesPerChunk));
  }
  return {};
}

std::string array_metadata(const ZarrArray& array) { return array_json(array).dump(2) + "\n"; }

std::string group_metadata(const Json& attributes) {
  Json json;
  json["zarr_format"] = 3;
  json["node_type"] = "group";
  json["attributes"] = attributes.is_null() ? Json(Json::Object{}) : attributes;
  return json.dump(2) + "\n";
}

Result<ZarrArray> parse_array_metadata(std::string_view text, const std::string& where) {
  MOESAIC_ASSIGN(Json json, parse_node(text, where, "array"));
  ZarrArray array;
  const Json* type = json.find("data_type");
  bool known = false;
  for (const TypeInfo& info : kTypes) {
    if (type == nullptr || *type != Json(info.name)) continue;
    array.type = info.type;
    known = true;
  }
  if (!known) return wrong(where, "data_type", type, "one of uint8, uint16, uint32, uint64, int64, float32");
  MOESAIC_ASSIGN(array.shape, read_numbers(json.find("shape"), "shape", where));
  const Json* grid = json.find("chunk_grid");
  const Json* grid_configuration = grid == nullptr ? nullptr : grid->find("configuration");
  if (grid_configuration == nullptr) return wrong(where, "chunk_grid", grid, "a regular grid");
  MOESAIC_ASSIGN(array.chunk, read_numbers(grid_configuration->find("chunk_shape"), "chunk_grid", where));
  const Json* list = json.find("codecs");
  if (list != nullptr && list->as_array() != nullptr && list->as_array()->size() == 1) {
    const Json* sharding = list->as_array()->front().find("configuration");
    if (sharding == nullptr) return wrong(where, "codecs", list, "sharding_indexed with a configuration");
    MOESAIC_ASSIGN(array.inner, read_numbers(sharding->find("chunk_shape"), "codecs", where));
  }
  if (const Json* attributes = json.find("attributes")) array.attributes = *attributes;
  MOESAIC_TRY(validate(array, where));
  // Everything else has one right value: what we would have written for this shape.
  const Json ours = array_json(array);
  for (const auto& [key, value] : *json.as_object()) {
    if (key == "attributes" || key == "dimension_names") continue;
    const Json* expected = ours.find(key);
    if (expected == nullptr) return wrong(where, key, &value, "no such key");
    if (value != *expected) return wrong(where, key, &value, expected->dump());
  }
  for (const auto& [key, value] : *ours.as_object()) {
    if (key != "attributes" && json.find(key) == nullptr) return wrong(where, key, nullptr, value.dump());
  }
  return array;
}

Result<Json> parse_group_metadata(std::string_view text, const std::string& where) {
  MOESAIC_ASSIGN(const Json json, parse_node(text, where, "group"));
  const Json* attributes = json.find("attributes");
  return attributes == nullptr ? Json(Json::Object{}) : *attributes;
}

std::string chunk_key(const std::vector<std::uint64_t>& at) {
  std::string key = "c";
  for (const std::uint64_t i : at) key += fmt::format(".{}", i);
  return key;
}

}  // namespace moesaic::io
