// SGLang: --init-expert-location, srt/eplb/expert_location.py (read at commit 01fec5c). The file is
// {"physical_to_logical_map": [[expert of slot] a decoder layer]} and no other key; dense layers have a row.
// A name that does not end in .json is taken for the JSON itself.
#include <fmt/format.h>

#include "artifact/engine_formats.hpp"
#include "artifact/fields.hpp"
#include "core/limits.hpp"
#include "io/json.hpp"

namespace moesaic::artifact::formats {
namespace {

constexpr std::string_view kKey = "physical_to_logical_map";

}  // namespace

Result<Export> write_sglang(const Plan& plan, const std::string& file) {
  if (!file.ends_with(".json")) {
    return bad_input(
        fmt::format("export to sglang: {}: SGLang reads the option itself as JSON unless the file's name "
                    "ends in .json; rename "
                    "the output to {}.json",
                    file, file));
  }
  const Placement& placement = plan.placement;
  Json::Array layers;
  std::size_t row = 0;
  for (std::size_t layer = 0; layer < plan.shape.model_layers; ++layer) {
    const bool moe = row < plan.shape.layers.size() && index(plan.shape.layers[row]) == layer;
    Json::Array slots;
    for (std::size_t slot = 0; slot < placement.slots(); ++slot) {
      // A dense layer's row is never looked at, but it must be a valid one.
      slots.emplace_back(moe ? index(placement.layer(row)[slot]) : slot % placement.experts());
    }
    layers.emplace_back(std::move(slots));
    row += moe ? 1 : 0;
  }
  Json out;
  out[kKey] = std::move(layers);
  Export written{.bytes = out.dump() + "\n", .launch = {}, .warnings = {}};
  written.launch =
      fmt::format("--init-expert-location {} --ep-size {} --ep-num-redundant-experts {} --nnodes {}", file,
                  placement.topology().gpus(), placement.extra_slots(), placement.topology().nodes);
  if (placement.extra_slots() > 0) {
    written.launch += " --ep-dispatch-algorithm static";
    written.warnings.push_back(
        "SGLang keeps this placement only while --enable-eplb is off: its balancer would replace it.");
  }
  return written;
}

Result<Placement> read_sglang(std::string_view text, const Target& target) {
  MOESAIC_ASSIGN(const Json json, io::parse_json(text, target.where));
  Fields fields(json, target.where, "");
  const Json::Array* rows = fields.array(kKey, target.shape.model_layers);
  MOESAIC_TRY(fields.finish());
  const Json::Array* first = (*rows)[0].as_array();
  if (first == nullptr) fields.fail(fmt::format("{}[0]", kKey), &(*rows)[0], "an array of expert ids");
  MOESAIC_TRY(fields.finish());
  MOESAIC_ASSIGN(const std::size_t per_gpu, target.slots_per_gpu(first->size(), kKey));
  std::vector<ExpertId> all;
  fields.matrix(kKey, target.shape.model_layers, first->size(),
                fmt::format("an expert id below {}", target.shape.experts), [&](const Json& item) {
                  std::uint64_t expert = 0;
                  if (!item.to_uint(expert) || expert >= target.shape.experts) return false;
                  all.push_back(ExpertId(expert));
                  return true;
                });
  MOESAIC_TRY(fields.finish());
  std::vector<ExpertId> slots;
  for (const LayerId layer : target.shape.layers) {
    const auto begin = all.begin() + static_cast<std::ptrdiff_t>(index(layer) * first->size());
    slots.insert(slots.end(), begin, begin + static_cast<std::ptrdiff_t>(first->size()));
  }
  return target.placement(per_gpu, std::move(slots));
}

}  // namespace moesaic::artifact::formats
