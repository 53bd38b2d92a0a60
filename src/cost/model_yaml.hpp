// A model that has no preset, described in YAML; or one that is named either way. docs/cost.md has an
// example.
#pragma once

#include <string>
#include <string_view>

#include "core/config.hpp"
#include "core/result.hpp"
#include "cost/model_preset.hpp"
#include "io/files.hpp"

namespace moesaic::cost {

/// Keys: name, aliases, source, model_layers, moe_layers (a list, or {first, step}), experts, top_k,
/// hidden_size, expert_intermediate_size, weights (bf16|fp8|mxfp4), dispatch (fp8|bf16),
/// kv_bytes_per_token. Required: name, model_layers, experts, top_k, hidden_size,
/// expert_intermediate_size. Errors (bad input) name file, line and key.
Result<ModelPreset> read_model(const ConfigNode& node);

/// The same from a whole document; `where` names it in messages.
Result<ModelPreset> read_model(std::string_view text, std::string where);

/// Whether a model is given as a file: its name ends in .yaml or .yml.
bool is_model_file(std::string_view name);

/// What --model and `model:` say: a preset's name or alias, or the path of a YAML file. Errors: those of
/// find_preset(), read_model() and the file.
Result<ModelPreset> named_model(io::FileSystem& files, const std::string& name);

}  // namespace moesaic::cost
