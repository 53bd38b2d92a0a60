#include "trace/store_header.hpp"

#include <fmt/format.h>

#include "core/limits.hpp"
#include "io/files.hpp"
#include "io/zarr_piece.hpp"

namespace moesaic::trace {
namespace {

/// Reads members of one JSON object; the first error is kept and told at the end.
class Fields {
 public:
  Fields(const Json& json, std::string where) : json_(json), where_(std::move(where)) {}

  std::string text(const char* key) {
    const Json* value = json_.find(key);
    if (value == nullptr || !value->is_string()) return wrong(key, value, "a string"), std::string();
    if (value->as_string()->size() > limits::kMaxStringBytes)
      return wrong(key, nullptr, "a shorter string"), "";
    return *value->as_string();
  }

  std::size_t number(const char* key) {
    const Json* value = json_.find(key);
    std::uint64_t number = 0;
    if (value == nullptr || !value->to_uint(number)) wrong(key, value, "a whole number");
    return static_cast<std::size_t>(number);
  }

  bool flag(const char* key) {
    const Json* value = json_.find(key);
    if (value == nullptr || value->as_bool() == nullptr) return wrong(key, value, "true or false"), false;
    return *value->as_bool();
  }

  const Json::Array& list(const char* key) {
    static const Json::Array kNone;
    const Json* value = json_.find(key);
    if (value == nullptr || !value->is_array()) return wrong(key, value, "a list"), kNone;
    return *value->as_array();
  }

  /// Whether the text of `key` is `second`; it must be `first` or `second`.
  bool choice(const char* key, std::string_view first, std::string_view second) {
    const std::string found = text(key);
    if (status_ && found != first && found != second) {
      wrong(key, json_.find(key), fmt::format("\"{}\" or \"{}\"", first, second));
    }
    return found == second;
  }

  void wrong(const char* key, const Json* found, const std::string& expected) {
    if (!status_) return;
    std::string shown = found == nullptr ? "missing" : found->dump();
    if (shown.size() > 80) shown = shown.substr(0, 80) + "...";
    status_ = bad_input(fmt::format("{}: key \"{}\" is {}, expected {}", where_, key, shown, expected));
  }

  const Status& status() const { return status_; }

 private:
  const Json& json_;
  std::string where_;
  Status status_;
};

Json provenance_json(const Provenance& provenance) {
  Json::Array sources, anomalies;
  for (const std::string& source : provenance.sources) sources.emplace_back(source);
  for (const Anomaly& anomaly : provenance.anomalies) {
    Json entry;
    entry["kind"] = anomaly.kind;
    entry["what"] = anomaly.what;
    entry["count"] = anomaly.count;
    anomalies.push_back(std::move(entry));
  }
  Json json;
  json["format"] = provenance.format;
  json["sources"] = Json(std::move(sources));
  json["anomalies"] = Json(std::move(anomalies));
  return json;
}

Result<Provenance> parse_provenance(const Json* json, const std::string& where) {
  if (json == nullptr)
    return bad_input(fmt::format("{}: key \"provenance\" is missing, expected an object", where));
  Fields fields(*json, where + ": provenance");
  Provenance provenance;
  provenance.format = fields.text("format");
  for (const Json& source : fields.list("sources")) {
    if (source.is_string()) {
      provenance.sources.push_back(*source.as_string());
    } else {
      fields.wrong("sources", &source, "strings");
    }
  }
  for (const Json& entry : fields.list("anomalies")) {
    Fields inner(entry, where + ": provenance.anomalies");
    provenance.anomalies.push_back(
        {.kind = inner.text("kind"), .what = inner.text("what"), .count = inner.number("count")});
    MOESAIC_TRY(inner.status());
  }
  MOESAIC_TRY(fields.status());
  return provenance;
}

Result<ModelShape> parse_shape(Fields& fields) {
  ModelShape shape;
  shape.model = fields.text("model");
  shape.model_layers = fields.number("model_layers");
  shape.experts = fields.number("experts");
  shape.top_k = fields.number("top_k");
  const Json::Array& layers = fields.list("layers");
  if (layers.size() > limits::kMaxLayers) fields.wrong("layers", nullptr, "a shorter list");
  MOESAIC_TRY(fields.status());
  for (const Json& layer : layers) {
    std::uint64_t id = 0;
    if (!layer.to_uint(id) || id >= limits::kMaxLayers)
      fields.wrong("layers", &layer, "layer ids below 4096");
    shape.layers.push_back(static_cast<LayerId>(id));
  }
  MOESAIC_TRY(fields.status());
  return shape;
}

}  // namespace

std::string_view name(Kind kind) { return kind == Kind::kTokens ? "tokens" : "counts"; }
std::string_view name(IdOrder order) { return order == IdOrder::kSet ? "set" : "score"; }
std::string_view name(CountUnit unit) { return unit == CountUnit::kTokens ? "tokens" : "share"; }

Json shape_json(const ModelShape& shape) {
  Json::Array layers;
  for (const LayerId layer : shape.layers) layers.emplace_back(index(layer));
  Json json;
  json["model"] = shape.model;
  json["model_layers"] = shape.model_layers;
  json["layers"] = Json(std::move(layers));
  json["experts"] = shape.experts;
  json["top_k"] = shape.top_k;
  return json;
}

Json to_json(const StoreHeader& header) {
  Json json = shape_json(header.shape);
  json["schema"] = kStoreSchema;
  json["kind"] = name(header.kind);
  if (header.kind == Kind::kTokens) {
    json["order"] = name(header.order);
    json["weights"] = header.weights;
  } else {
    json["unit"] = name(header.unit);
  }
  json["provenance"] = provenance_json(header.provenance);
  json["digest"] = header.digest;
  return json;
}

Result<StoreHeader> parse_store_header(const Json& attributes, const std::string& where) {
  Fields fields(attributes, where);
  if (const std::string schema = fields.text("schema"); fields.status() && schema != kStoreSchema) {
    const bool newer = schema.starts_with("moesaic.trace/");
    return bad_input(fmt::format(
        "{}: schema \"{}\", expected \"{}\"; {}", where, schema, kStoreSchema,
        newer ? "it was written by another version, import the trace again" : "this is no trace store"));
  }
  MOESAIC_TRY(fields.status());
  StoreHeader header;
  MOESAIC_ASSIGN(header.shape, parse_shape(fields));
  MOESAIC_TRY(validate(header.shape).map_error([&](Error error) {
    error.message = where + ": " + error.message;
    return error;
  }));
  header.kind = fields.choice("kind", "tokens", "counts") ? Kind::kCounts : Kind::kTokens;
  if (header.kind == Kind::kTokens) {
    header.order = fields.choice("order", "set", "score") ? IdOrder::kScore : IdOrder::kSet;
    header.weights = fields.flag("weights");
  } else {
    header.unit = fields.choice("unit", "tokens", "share") ? CountUnit::kShare : CountUnit::kTokens;
  }
  header.digest = fields.text("digest");
  if (io::Hash128 hash; !io::parse_hex(header.digest, hash)) {
    fields.wrong("digest", attributes.find("digest"), "32 hexadecimal digits");
  }
  MOESAIC_TRY(fields.status());
  MOESAIC_ASSIGN(header.provenance, parse_provenance(attributes.find("provenance"), where));
  return header;
}

std::string store_digest(const StoreHeader& header, const std::map<std::string, ArrayContent>& arrays) {
  Json json = to_json(header);
  json.as_object()->erase("digest");
  json.as_object()->erase("provenance");
  for (const auto& [path, content] : arrays) {
    Json::Array shape;
    for (const std::uint64_t n : content.shape) shape.emplace_back(n);
    json["arrays"][path]["shape"] = Json(std::move(shape));
    json["arrays"][path]["hash"] = content.hash;
  }
  return io::hex(io::hash128(io::as_bytes(json.dump())));
}

}  // namespace moesaic::trace
