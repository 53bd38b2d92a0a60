// The prompt model of a router.json.
#pragma once

#include <string_view>

#include "artifact/fields.hpp"
#include "core/json.hpp"
#include "core/model_shape.hpp"
#include "signature/prompt_model.hpp"

namespace moesaic::artifact {

/// {bias [K], buckets, grams, max_bytes, scale [K], usage [K][L * E], weights [K] base64 of int8 [buckets]}.
Json prompt_model_json(const signature::PromptModel& model);

/// Reads the object under `key` of `parent`: a model of `groups` groups for the counts of `shape`. Errors are
/// noted in `parent`: a missing or unknown key, a wrong size, what signature::validate refuses.
signature::PromptModel read_prompt_model(Fields& parent, std::string_view key, const ModelShape& shape,
                                         std::size_t groups);

}  // namespace moesaic::artifact
