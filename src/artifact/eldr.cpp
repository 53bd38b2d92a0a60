#include "artifact/eldr.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "artifact/assigner_json.hpp"
#include "artifact/fields.hpp"
#include "core/limits.hpp"
#include "io/json.hpp"

namespace moesaic::artifact {
namespace {

using signature::Transform;

/// Reads the transform: variant, sig_dtype, layer_mask, sig_idf.
void read_transform(Fields& fields, const Json& json, const ModelShape& shape, signature::Space& space) {
  const std::string variant = json.find("variant") == nullptr ? "count" : fields.text("variant");
  if (variant == "count") {
    space.transform = Transform::kCount;
  } else if (variant == "count_idf") {
    space.transform = Transform::kCountIdf;
  } else if (variant == "gate_prob_all") {
    space.transform = Transform::kGateProbability;
  } else {
    fields.fail("variant", json.find("variant"), "count, count_idf or gate_prob_all");
  }
  const std::string dtype = variant == "gate_prob_all" ? "<f4" : "<i2";
  if (json.find("sig_dtype") != nullptr && fields.text("sig_dtype") != dtype) {
    fields.fail("sig_dtype", json.find("sig_dtype"), fmt::format("\"{}\" for variant {}", dtype, variant));
  }
  for (const char* key : {"sig_mean", "sig_per_layer_norm"}) {
    const Json* found = fields.optional_member(key);
    if (found != nullptr && *found != Json(false))
      fields.fail(key, found, "nothing: this transform is not supported");
  }
  if (json.find("layer_mask") == nullptr && variant == "count") {
    for (std::uint32_t row = 0; row < shape.layers.size(); ++row) space.rows.push_back(row);
  } else {
    for (const std::uint64_t row :
         fields.wholes("layer_mask", shape.layers.size(), 0, shape.layers.size() - 1)) {
      space.rows.push_back(static_cast<std::uint32_t>(row));
    }
  }
  if (variant == "count" && space.rows.size() != shape.layers.size()) {
    fields.fail("layer_mask", json.find("layer_mask"), "all layers for variant count");
  }
  for (const std::uint32_t row : space.rows) space.layers.push_back(shape.layers[row]);
  const Json* idf = fields.optional_member("sig_idf");
  if ((idf != nullptr) != (variant == "count_idf")) {
    return fields.fail("sig_idf", idf, "weights for variant count_idf, and for it alone");
  }
  if (idf == nullptr) return;
  const Json::Array* weights = fields.array("sig_idf", space.width());
  if (weights == nullptr) return;
  for (const Json& item : *weights) {
    double value = 0;
    if (!item.to_double(value)) fields.fail("sig_idf", &item, "numbers");
    space.idf.push_back(static_cast<float>(value));
  }
}

}  // namespace

Result<std::string> write_eldr_centroids(const Router& router) {
  const signature::Assigner& assigner = router.assigner;
  const signature::Space& space = assigner.space;
  const std::size_t width = space.width();
  const bool all_layers = space.layers == router.shape.layers;
  std::string variant = "count";
  std::vector<float> idf;
  switch (space.transform) {
    case Transform::kCount:
      if (!all_layers) {
        variant = "count_idf";
        idf.assign(width, 1.0f);
      }
      break;
    case Transform::kCountIdf:
      variant = "count_idf";
      idf = space.idf;
      break;
    case Transform::kGateProbability:
      variant = "gate_prob_all";
      break;
    case Transform::kSqrtCount:
    case Transform::kBinary:
      return bad_input(fmt::format(
          "export to ELDR: the router's transform is {}, expected count, count_idf or gate_probability; "
          "fit it again with one of these",
          name(space.transform)));
  }
  Json::Array centroids, mask, weights;
  for (std::size_t t = 0; t < assigner.targets(); ++t) {
    const std::span<const float> prototype = std::span(assigner.prototypes).subspan(t * width, width);
    if (std::ranges::all_of(prototype, [](float x) { return x == 0; })) {
      return bad_input(
          fmt::format("export to ELDR: decoder {} has a prototype of zeros, expected unit length; fit with "
                      "fewer decoders",
                      t));
    }
    Json::Array row;
    for (const float value : prototype) row.emplace_back(shortest_decimal(value));
    centroids.emplace_back(std::move(row));
  }
  for (const std::uint32_t row : space.rows) mask.emplace_back(row);
  for (const float weight : idf) weights.emplace_back(shortest_decimal(weight));
  Json out;
  out["model"] = router.shape.model;
  out["algo"] = "balanced_spherical_kmeans";
  out["k"] = assigner.targets();
  out["L"] = router.shape.layers.size();
  out["e"] = space.experts;
  out["variant"] = variant;
  out["layer_mask"] = std::move(mask);
  if (!weights.empty()) out["sig_idf"] = std::move(weights);
  out["sig_dtype"] = variant == "gate_prob_all" ? "<f4" : "<i2";
  out["seed"] = router.seed;
  out["centroids"] = std::move(centroids);
  return out.dump() + "\n";
}

Result<Router> read_eldr_centroids(std::string_view text, const ModelShape& shape, const std::string& where) {
  MOESAIC_ASSIGN(const Json json, io::parse_json(text, where));
  Fields fields(json, where, "");
  Router router{.shape = shape, .assigner = {.target = signature::Target::kDecoder}};
  signature::Space& space = router.assigner.space;
  fields.whole("L", shape.layers.size(), shape.layers.size());
  space.experts = fields.whole("e", shape.experts, shape.experts);
  read_transform(fields, json, shape, space);
  if (json.find("seed") != nullptr) {
    router.seed = fields.whole("seed", 0, std::numeric_limits<std::uint64_t>::max());
  }
  const Json::Array* centroids = fields.array("centroids", limits::kMaxGpus, false);
  MOESAIC_TRY(fields.first_error());
  if (centroids->empty()) fields.fail("centroids", json.find("centroids"), "at least one row");
  if (json.find("k") != nullptr) fields.whole("k", centroids->size(), centroids->size());
  fields.matrix("centroids", centroids->size(), space.width(), "a number", [&](const Json& item) {
    double value = 0;
    if (!item.to_double(value)) return false;
    router.assigner.prototypes.push_back(static_cast<float>(value));
    return true;
  });
  MOESAIC_TRY(fields.first_error());
  router.assigner.capacities = signature::equal_shares(centroids->size());
  if (const Status valid = signature::validate(router.assigner); !valid) {
    return bad_input(fmt::format("{}: {}", where, valid.error().message));
  }
  return router;
}

}  // namespace moesaic::artifact
