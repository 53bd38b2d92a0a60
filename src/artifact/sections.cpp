#include "artifact/sections.hpp"

#include <fmt/format.h>

#include <limits>

#include "core/limits.hpp"

namespace moesaic::artifact {

Json shape_json(const ModelShape& shape) {
  Json::Array layers;
  for (const LayerId layer : shape.layers) layers.emplace_back(index(layer));
  Json out;
  out["name"] = shape.model;
  out["model_layers"] = shape.model_layers;
  out["layers"] = std::move(layers);
  out["experts"] = shape.experts;
  out["top_k"] = shape.top_k;
  return out;
}

Json source_json(const PlanSource& source) {
  Json out;
  out["trace_digest"] = source.trace_digest;
  out["trace_name"] = source.trace_name;
  out["requests"] = source.requests;
  out["split_seed"] = source.split_seed;
  out["heldout_share"] = source.heldout_share;
  out["phase"] = name(source.phase);
  out["predict_from"] = to_string(source.predict_from);
  out["windows"] = source.windows ? Json(Json::Array{source.windows->first, source.windows->second}) : Json();
  return out;
}

ModelShape read_shape(Fields& parent, std::string_view key) {
  const Json json = parent.object(key);
  Fields fields(json, parent.where(), parent.path_of(key));
  ModelShape shape{.model = fields.text("name"),
                   .model_layers = fields.whole("model_layers", 1, limits::kMaxLayers),
                   .layers = {},
                   .experts = fields.whole("experts", 1, limits::kMaxExperts),
                   .top_k = fields.whole("top_k", 1, limits::kMaxTopK)};
  for (const std::uint64_t layer : fields.wholes("layers", limits::kMaxLayers, 0, limits::kMaxLayers - 1)) {
    shape.layers.push_back(LayerId(layer));
  }
  if (const Status status = fields.finish(); !status) {
    parent.fail(status.error());
  } else if (const Status valid = validate(shape); !valid) {
    parent.fail(Error{ErrorKind::kBadInput,
                      fmt::format("{}: {}: {}", parent.where(), parent.path_of(key), valid.error().message)});
  }
  return shape;
}

PlanSource read_source(Fields& parent, std::string_view key) {
  const Json json = parent.object(key);
  Fields fields(json, parent.where(), parent.path_of(key));
  PlanSource source{.trace_digest = fields.text("trace_digest"),
                    .trace_name = fields.text("trace_name"),
                    .requests = fields.text("requests"),
                    .split_seed = fields.whole("split_seed", 0, kAnySeed),
                    .heldout_share = fields.number("heldout_share", 0, 1)};
  if (!source.requests.starts_with('@') && !parse_request_set(source.requests)) {
    fields.fail("requests", json.find("requests"), "all, train, heldout or @file");
  }
  if (const auto phase = parse_phase(fields.text("phase"))) {
    source.phase = *phase;
  } else {
    fields.fail("phase", json.find("phase"), "decode, prefill or all");
  }
  if (const auto from = parse_predict_from(fields.text("predict_from"))) {
    source.predict_from = *from;
  } else {
    fields.fail("predict_from", json.find("predict_from"),
                "prefill, fraction:F or fraction:F,max:N with 0 < F < 1");
  }
  if (fields.optional_member("windows") != nullptr) {
    const auto range = fields.wholes("windows", 2, 0, std::numeric_limits<std::uint32_t>::max());
    if (range.size() == 2 && range[0] < range[1]) {
      source.windows.emplace(static_cast<std::uint32_t>(range[0]), static_cast<std::uint32_t>(range[1]));
    } else {
      fields.fail("windows", json.find("windows"), "null or [first, end] with first < end");
    }
  }
  if (const Status status = fields.finish(); !status) parent.fail(status.error());
  return source;
}

}  // namespace moesaic::artifact
