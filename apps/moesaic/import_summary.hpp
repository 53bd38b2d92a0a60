// What the commands that import share: shapes by name, and what they say of a new store.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "command.hpp"
#include "core/model_shape.hpp"
#include "ingest/importer.hpp"

namespace moesaic::app {

/// A preset by name, or a model from a YAML file.
Result<ModelShape> model_shape(Context& context, const std::string& model);
/// A preset whose name stands in the path.
std::optional<ModelShape> shape_of_path(std::string_view path);

void print_import(const ingest::ImportSummary& summary, const std::string& output);
/// moesaic.import/1
Json import_json(const ingest::ImportSummary& summary, const std::string& output);

}  // namespace moesaic::app
