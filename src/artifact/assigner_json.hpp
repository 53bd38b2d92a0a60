// The one JSON form of an assigner, in plan.json and router.json alike.
#pragma once

#include <string_view>

#include "artifact/fields.hpp"
#include "core/json.hpp"
#include "core/model_shape.hpp"
#include "signature/assigner.hpp"

namespace moesaic::artifact {

/// {capacities [T], experts E, idf [layers][E] or null, layers, prototypes [T][layers * E], target,
/// transform}. Floats are their shortest decimals. `rows` are left out: they follow from the model's layers.
Json assigner_json(const signature::Assigner& assigner);

/// Reads the object under `key` of `parent`, bound to the layer rows of `shape`. Errors are noted in
/// `parent`: a missing or unknown key, a wrong size, what signature::validate refuses, a layer that the
/// model lacks.
signature::Assigner read_assigner(Fields& parent, std::string_view key, const ModelShape& shape);

/// A number whose canonical JSON is the shortest decimal that reads back as this float.
double shortest_decimal(float value);

}  // namespace moesaic::artifact
