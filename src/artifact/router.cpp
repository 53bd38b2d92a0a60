#include "artifact/router.hpp"

#include <fmt/format.h>

#include <limits>

#include "artifact/assigner_json.hpp"
#include "artifact/prompt_model_json.hpp"
#include "core/check.hpp"
#include "core/limits.hpp"
#include "io/json.hpp"

namespace moesaic::artifact {

std::string to_json(const Router& router) {
  MOESAIC_CHECK(router.score.is_object());
  Json::Array notes;
  for (const std::string& note : router.notes) notes.emplace_back(note);
  Json out;
  out["schema"] = kRouterSchema;
  out["made_by"] = router.made_by;
  out["model"] = shape_json(router.shape);
  out["assigner"] = assigner_json(router.assigner);
  if (router.prompt_model) out["prompt_model"] = prompt_model_json(*router.prompt_model);
  out["source"] = source_json(router.source);
  out["seed"] = router.seed;
  out["notes"] = std::move(notes);
  out["score"] = router.score;
  return out.dump(1) + "\n";
}

Result<Router> parse_router(std::string_view text, const std::string& where) {
  MOESAIC_ASSIGN(const Json json, io::parse_json(text, where));
  Fields fields(json, where, "");
  fields.schema(kRouterSchema);
  Router router{.made_by = fields.text("made_by"),
                .shape = read_shape(fields, "model"),
                .assigner = {},
                .prompt_model = {},
                .source = read_source(fields, "source"),
                .seed = fields.whole("seed", 0, std::numeric_limits<std::uint64_t>::max()),
                .notes = fields.texts("notes", 10'000),
                .score = fields.object("score")};
  if (!fields.ok()) return tl::unexpected(fields.finish().error());
  router.assigner = read_assigner(fields, "assigner", router.shape);
  if (fields.ok() && router.assigner.target != signature::Target::kDecoder) {
    fields.fail("assigner.target", json.find("assigner")->find("target"),
                "decoder; a plan's assigner stays in its plan.json");
  }
  if (fields.optional_member("prompt_model") != nullptr) {
    router.prompt_model = read_prompt_model(fields, "prompt_model", router.shape, router.assigner.targets());
  }
  MOESAIC_TRY(fields.finish());
  return router;
}

Result<Router> read_router(io::FileSystem& files, const std::string& path) {
  MOESAIC_ASSIGN(const std::string text, io::read_file(files, path, limits::kMaxConfigBytes));
  return parse_router(text, path);
}

Status write_router(io::FileSystem& files, const std::string& path, const Router& router, bool force) {
  const std::string text = to_json(router);
  if (text.size() > limits::kMaxConfigBytes) {
    return bad_input(
        fmt::format("{}: would take {} bytes, a router is read up to {}; choose fewer layers or decoders.",
                    path, text.size(), limits::kMaxConfigBytes));
  }
  return io::write_file_atomically(files, path, text, force);
}

}  // namespace moesaic::artifact
