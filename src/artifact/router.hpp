// A router: how a request finds the decoder whose experts it shares, fitted from a trace and loaded by the
// gateway. router.json (schema moesaic.router/1) is its one form on disk.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "artifact/sections.hpp"
#include "core/json.hpp"
#include "core/model_shape.hpp"
#include "core/result.hpp"
#include "io/files.hpp"
#include "signature/assigner.hpp"
#include "signature/prompt_model.hpp"

namespace moesaic::artifact {

inline constexpr std::string_view kRouterSchema = "moesaic.router/1";

struct Router {
  std::string made_by = {};  ///< program and version
  ModelShape shape;          ///< of the counts that the engine reports
  signature::Assigner assigner;
  /// From a prompt's text to the assigner's targets; absent when it was fitted without texts.
  std::optional<signature::PromptModel> prompt_model = {};
  PlanSource source = {};
  std::uint64_t seed = 0;
  std::vector<std::string> notes = {};  ///< full sentences for the reader
  Json score = Json::Object{};          ///< what the fit measured; an object

  bool operator==(const Router&) const = default;
};

/// Canonical text with a newline at its end. REQUIRES: a valid assigner to decoders, score an object; a
/// prompt model of as many groups as the assigner has targets, with usage for the shape.
std::string to_json(const Router& router);

/// Inverse of to_json. Errors (bad input) name `where`, the key path, what was found and expected.
Result<Router> parse_router(std::string_view text, const std::string& where);

/// Reads a file of at most limits::kMaxConfigBytes.
Result<Router> read_router(io::FileSystem& files, const std::string& path);
/// Whole or not at all; an existing file is refused unless `force`, one that read_router() would not read
/// always.
Status write_router(io::FileSystem& files, const std::string& path, const Router& router, bool force);

}  // namespace moesaic::artifact
