// vLLM, the offline EPLB of pull request 41141 (not merged when this was written): one JSON line of record
// type eplb_initial_mapping, layers numbered from 0 among the MoE layers alone.
#include <fmt/format.h>

#include "artifact/engine_formats.hpp"
#include "artifact/fields.hpp"
#include "core/limits.hpp"
#include "io/json.hpp"

namespace moesaic::artifact::formats {
namespace {

constexpr std::string_view kRecord = "eplb_initial_mapping";

}  // namespace

Result<Export> write_vllm_eplb(const Plan& plan, const std::string& file) {
  const Placement& placement = plan.placement;
  Json layers = Json::Object{};
  for (std::size_t row = 0; row < placement.layers().size(); ++row) {
    Json::Array slots;
    for (const ExpertId expert : placement.layer(row)) slots.emplace_back(index(expert));
    layers[fmt::format("{}", row)] = std::move(slots);
  }
  Json out;
  out["record_type"] = kRecord;
  out["version"] = 1;
  out["num_redundant_experts"] = placement.extra_slots();
  out["num_slots"] = placement.slots();
  out["initial_global_assignments"] = std::move(layers);
  Export written{.bytes = out.dump() + "\n", .launch = {}, .warnings = {}};
  written.launch = fmt::format(
      "--enable-expert-parallel --enable-eplb --eplb-config '{{\"num_redundant_experts\": {}}}'\n"
      "(expert-parallel size {}; the patched vLLM reads the mapping from {})",
      placement.extra_slots(), placement.topology().gpus(), file);
  written.warnings.push_back(
      "vLLM loads this file only with pull request 41141, which was not merged when this exporter was "
      "written: "
      "check that your build reads records of type eplb_initial_mapping.");
  return written;
}

Result<Placement> read_vllm_eplb(std::string_view text, const Target& target) {
  const std::size_t end = text.find('\n');
  if (end == std::string_view::npos || end + 1 != text.size()) {
    return bad_input(fmt::format("{}: expected exactly one line, ended by a line feed", target.where));
  }
  MOESAIC_ASSIGN(const Json json, io::parse_json(text.substr(0, end), target.where));
  Fields fields(json, target.where, "");
  if (const std::string record = fields.text("record_type"); record != kRecord) {
    fields.fail("record_type", json.find("record_type"), "\"eplb_initial_mapping\"");
  }
  fields.whole("version", 1, 1);
  const std::size_t slots = fields.whole("num_slots", 1, limits::kMaxSlots);
  const std::size_t extra = fields.whole("num_redundant_experts", 0, limits::kMaxSlots);
  if (slots != target.shape.experts + extra) {
    fields.fail("num_slots", json.find("num_slots"),
                fmt::format("{} experts + {} redundant ones", target.shape.experts, extra));
  }
  const Json layers = fields.object("initial_global_assignments");
  MOESAIC_TRY(fields.finish());
  MOESAIC_ASSIGN(const std::size_t per_gpu, target.slots_per_gpu(slots, "num_slots"));
  Fields rows(layers, target.where, "initial_global_assignments");
  std::vector<ExpertId> out;
  for (std::size_t row = 0; row < target.shape.layers.size() && rows.ok(); ++row) {
    const std::string key = fmt::format("{}", row);
    rows.array(key, slots);
    for (const std::uint64_t expert : rows.wholes(key, slots, 0, target.shape.experts - 1)) {
      out.push_back(ExpertId(expert));
    }
  }
  MOESAIC_TRY(rows.finish());
  return target.placement(per_gpu, std::move(out));
}

}  // namespace moesaic::artifact::formats
