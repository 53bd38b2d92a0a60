#include "artifact/plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "artifact/fields.hpp"
#include "core/check.hpp"
#include "core/limits.hpp"
#include "io/json.hpp"

namespace moesaic::artifact {
namespace {

constexpr Label kLabels[] = {Label::kHeuristic, Label::kProven, Label::kTimeLimited};
constexpr std::uint64_t kAnySeed = std::numeric_limits<std::uint64_t>::max();

std::string_view name(Attention attention) { return attention == Attention::kDataParallel ? "dp" : "tp"; }

template <class T, class F>
Json json_array(const std::vector<T>& items, F&& convert) {
  Json::Array out;
  out.reserve(items.size());
  for (const T& item : items) out.emplace_back(convert(item));
  return out;
}

Json shape_json(const ModelShape& shape) {
  Json out;
  out["name"] = shape.model;
  out["model_layers"] = shape.model_layers;
  out["layers"] = json_array(shape.layers, [](LayerId layer) { return index(layer); });
  out["experts"] = shape.experts;
  out["top_k"] = shape.top_k;
  return out;
}

Json placement_json(const Placement& placement) {
  Json::Array rows;
  for (std::size_t row = 0; row < placement.layers().size(); ++row) {
    Json::Array slots;
    for (const ExpertId expert : placement.layer(row)) slots.emplace_back(index(expert));
    rows.emplace_back(std::move(slots));
  }
  Json out;
  out["slots_per_gpu"] = placement.slots_per_gpu();
  out["slots"] = std::move(rows);
  return out;
}

Json loads_json(const Plan& plan) {
  MOESAIC_CHECK(plan.loads.size() == plan.shape.layers.size() * plan.shape.experts);
  Json::Array rows;
  for (std::size_t begin = 0; begin < plan.loads.size(); begin += plan.shape.experts) {
    Json::Array row;
    for (std::size_t e = 0; e < plan.shape.experts; ++e) row.emplace_back(plan.loads[begin + e]);
    rows.emplace_back(std::move(row));
  }
  return rows;
}

Json algorithm_json(const PlanAlgorithm& algorithm) {
  MOESAIC_CHECK(algorithm.options.is_object());
  Json out;
  out["name"] = algorithm.name;
  out["seed"] = algorithm.seed;
  out["effort"] = algorithm.effort;
  out["expert_groups"] = algorithm.expert_groups;
  out["max_imbalance"] = algorithm.max_imbalance == 0 ? Json() : Json(algorithm.max_imbalance);
  out["options"] = algorithm.options;
  return out;
}

Json source_json(const PlanSource& source) {
  Json out;
  out["trace_digest"] = source.trace_digest;
  out["trace_name"] = source.trace_name;
  out["requests"] = source.requests;
  out["split_seed"] = source.split_seed;
  out["heldout_share"] = source.heldout_share;
  out["phase"] = moesaic::name(source.phase);
  out["predict_from"] = to_string(source.predict_from);
  out["windows"] = source.windows ? Json(Json::Array{source.windows->first, source.windows->second}) : Json();
  return out;
}

ModelShape read_shape(const Json& json, Fields& parent) {
  Fields fields(json, parent.where(), "model");
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
    parent.fail(
        Error{ErrorKind::kBadInput, fmt::format("{}: model: {}", parent.where(), valid.error().message)});
  }
  return shape;
}

Topology read_topology(const Json& json, Fields& parent) {
  Fields fields(json, parent.where(), "topology");
  const Topology topology{.nodes = fields.whole("nodes", 1, limits::kMaxGpus),
                          .gpus_per_node = fields.whole("gpus_per_node", 1, limits::kMaxGpus)};
  if (const Status status = fields.finish(); !status) parent.fail(status.error());
  if (const Status valid = validate(topology); !valid) {
    parent.fail(Error{ErrorKind::kBadInput, fmt::format("{}: {}", parent.where(), valid.error().message)});
  }
  return topology;
}

/// `rows` x `columns` numbers of the array of arrays `key`, each checked by `take(number) -> bool`.
template <class Take>
void read_matrix(Fields& fields, std::string_view key, std::size_t rows, std::size_t columns,
                 std::string_view expected, Take&& take) {
  const Json::Array* outer = fields.array(key, rows);
  if (outer == nullptr) return;
  for (std::size_t r = 0; r < rows; ++r) {
    const Json::Array* row = (*outer)[r].as_array();
    if (row == nullptr || row->size() != columns) {
      return fields.fail(fmt::format("{}[{}]", key, r), &(*outer)[r],
                         fmt::format("an array of {} items", columns));
    }
    for (std::size_t c = 0; c < columns; ++c) {
      if (!take((*row)[c])) return fields.fail(fmt::format("{}[{}][{}]", key, r, c), &(*row)[c], expected);
    }
  }
}

Result<Placement> read_placement(const Json& json, Fields& parent, const ModelShape& shape,
                                 const Topology& topology) {
  Fields fields(json, parent.where(), "placement");
  const std::size_t per_gpu = fields.whole("slots_per_gpu", 1, limits::kMaxSlots / topology.gpus());
  const std::size_t columns = per_gpu * topology.gpus();
  std::vector<ExpertId> slots;
  read_matrix(fields, "slots", shape.layers.size(), columns,
              fmt::format("an expert id below {}", shape.experts), [&](const Json& item) {
                std::uint64_t expert = 0;
                if (!item.to_uint(expert) || expert >= shape.experts) return false;
                slots.push_back(ExpertId(expert));
                return true;
              });
  MOESAIC_TRY(fields.finish());
  auto placement = Placement::make(topology, shape.layers, shape.experts, per_gpu, std::move(slots));
  if (!placement) return bad_input(fmt::format("{}: {}", parent.where(), placement.error().message));
  return placement;
}

PlanAlgorithm read_algorithm(const Json& json, Fields& parent) {
  Fields fields(json, parent.where(), "algorithm");
  PlanAlgorithm algorithm{.name = fields.text("name"),
                          .seed = fields.whole("seed", 0, kAnySeed),
                          .effort = fields.whole("effort", 0, kAnySeed),
                          .expert_groups = fields.whole("expert_groups", 1, limits::kMaxExperts),
                          .max_imbalance = 0,
                          .options = fields.object("options")};
  if (fields.optional_member("max_imbalance") != nullptr) {
    algorithm.max_imbalance = fields.number("max_imbalance", 1, std::numeric_limits<double>::max());
  }
  if (const Status status = fields.finish(); !status) parent.fail(status.error());
  return algorithm;
}

PlanSource read_source(const Json& json, Fields& parent) {
  Fields fields(json, parent.where(), "source");
  PlanSource source{.trace_digest = fields.text("trace_digest"),
                    .trace_name = fields.text("trace_name"),
                    .requests = fields.text("requests"),
                    .split_seed = fields.whole("split_seed", 0, kAnySeed),
                    .heldout_share = fields.number("heldout_share", 0, 1),
                    .predict_from = {},
                    .windows = {}};
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

void read_homes(Fields& fields, Plan& plan) {
  const Json homes = fields.object("homes");
  const std::size_t count = plan.placement.topology().homes(plan.attention);
  for (const auto& [id, home] : *homes.as_object()) {
    std::uint64_t value = 0;
    if (!home.to_uint(value) || value >= count || id.size() > limits::kMaxStringBytes) {
      return fields.fail(fmt::format("homes.{}", id.substr(0, 60)), &home,
                         fmt::format("a home below {} under a request id", count));
    }
    plan.homes.emplace(id, HomeId(value));
  }
}

}  // namespace

std::string_view name(Label label) {
  switch (label) {
    case Label::kProven:
      return "proven";
    case Label::kTimeLimited:
      return "time-limited";
    case Label::kHeuristic:
      break;
  }
  return "heuristic";
}

std::string to_json(const Plan& plan) {
  MOESAIC_CHECK(plan.score.is_object());
  Json out;
  out["schema"] = kPlanSchema;
  out["made_by"] = plan.made_by;
  out["model"] = shape_json(plan.shape);
  out["topology"]["nodes"] = plan.placement.topology().nodes;
  out["topology"]["gpus_per_node"] = plan.placement.topology().gpus_per_node;
  out["attention"] = name(plan.attention);
  out["dispatch"] = dispatch::name(plan.dispatch);
  out["placement"] = placement_json(plan.placement);
  out["algorithm"] = algorithm_json(plan.algorithm);
  out["source"] = source_json(plan.source);
  out["loads"] = loads_json(plan);
  Json::Object homes;
  for (const auto& [id, home] : plan.homes) homes.emplace(id, index(home));
  out["homes"] = std::move(homes);
  out["constraints_met"] = plan.constraints_met;
  out["label"] = name(plan.label);
  out["notes"] = json_array(plan.notes, [](const std::string& note) { return note; });
  out["score"] = plan.score;
  return out.dump(1) + "\n";
}

Result<Plan> parse_plan(std::string_view text, const std::string& where) {
  MOESAIC_ASSIGN(const Json json, io::parse_json(text, where));
  Fields fields(json, where, "");
  fields.schema(kPlanSchema);
  const Json model = fields.object("model"), layout = fields.object("placement"),
             topology_json = fields.object("topology");
  if (!fields.ok()) return tl::unexpected(fields.finish().error());
  const ModelShape shape = read_shape(model, fields);
  const Topology topology = read_topology(topology_json, fields);
  if (!fields.ok()) return tl::unexpected(fields.finish().error());
  MOESAIC_ASSIGN(Placement placement, read_placement(layout, fields, shape, topology));

  Plan plan{.made_by = fields.text("made_by"),
            .shape = shape,
            .placement = std::move(placement),
            .algorithm = read_algorithm(fields.object("algorithm"), fields),
            .source = read_source(fields.object("source"), fields),
            .loads = {},
            .homes = {},
            .constraints_met = fields.boolean("constraints_met"),
            .notes = fields.texts("notes", 10'000),
            .score = fields.object("score")};
  const std::string attention = fields.text("attention");
  if (attention != "dp" && attention != "tp") fields.fail("attention", json.find("attention"), "dp or tp");
  plan.attention = attention == "tp" ? Attention::kTensorParallel : Attention::kDataParallel;
  if (const auto rule = dispatch::parse_rule(fields.text("dispatch"))) {
    plan.dispatch = *rule;
  } else {
    fields.fail("dispatch", json.find("dispatch"), "local, sglang, vllm, trtllm or random");
  }
  const std::string label = fields.text("label");
  const auto* found = std::ranges::find_if(kLabels, [&](Label one) { return label == name(one); });
  if (found == std::end(kLabels)) {
    fields.fail("label", json.find("label"), "heuristic, proven or time-limited");
  } else {
    plan.label = *found;
  }
  read_matrix(fields, "loads", shape.layers.size(), shape.experts, "a number >= 0", [&](const Json& item) {
    double value = 0;
    if (!item.to_double(value) || !(value >= 0)) return false;
    plan.loads.push_back(value);
    return true;
  });
  read_homes(fields, plan);
  MOESAIC_TRY(fields.finish());
  return plan;
}

Result<Plan> read_plan(io::FileSystem& files, const std::string& path) {
  MOESAIC_ASSIGN(const std::string text, io::read_file(files, path, limits::kMaxConfigBytes));
  return parse_plan(text, path);
}

Status write_plan(io::FileSystem& files, const std::string& path, const Plan& plan, bool force) {
  return io::write_file_atomically(files, path, to_json(plan), force);
}

}  // namespace moesaic::artifact
