#include "artifact/plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "artifact/assigner_json.hpp"
#include "artifact/fields.hpp"
#include "core/check.hpp"
#include "core/limits.hpp"
#include "io/json.hpp"

namespace moesaic::artifact {
namespace {

constexpr Label kLabels[] = {Label::kHeuristic, Label::kProven, Label::kTimeLimited};

std::string_view name(Attention attention) { return attention == Attention::kDataParallel ? "dp" : "tp"; }

template <class T, class F>
Json json_array(const std::vector<T>& items, F&& convert) {
  Json::Array out;
  out.reserve(items.size());
  for (const T& item : items) out.emplace_back(convert(item));
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

Json cluster_json(const Cluster& cluster) {
  Json out;
  out["nodes"] = cluster.whole.nodes;
  out["gpus_per_node"] = cluster.whole.gpus_per_node;
  out["missing_gpus"] = json_array(cluster.missing, [](GpuId gpu) { return index(gpu); });
  return out;
}

Topology read_topology(Fields& parent) {
  const Json json = parent.object("topology");
  Fields fields(json, parent.where(), "topology");
  const Topology topology{.nodes = fields.whole("nodes", 1, limits::kMaxGpus),
                          .gpus_per_node = fields.whole("gpus_per_node", 1, limits::kMaxGpus)};
  if (const Status status = fields.finish(); !status) parent.fail(status.error());
  if (const Status valid = validate(topology); !valid) {
    parent.fail(Error{ErrorKind::kBadInput, fmt::format("{}: {}", parent.where(), valid.error().message)});
  }
  return topology;
}

std::optional<Cluster> read_cluster(Fields& parent, const Topology& topology) {
  if (parent.optional_member("cluster") == nullptr) return std::nullopt;
  const Json json = parent.object("cluster");
  Fields fields(json, parent.where(), "cluster");
  Cluster cluster{.whole = {.nodes = fields.whole("nodes", 1, limits::kMaxGpus),
                            .gpus_per_node = fields.whole("gpus_per_node", 1, limits::kMaxGpus)},
                  .missing = {}};
  for (const std::uint64_t gpu : fields.wholes("missing_gpus", limits::kMaxGpus, 0, limits::kMaxGpus - 1))
    cluster.missing.push_back(GpuId(gpu));
  if (const Status status = fields.finish(); !status) {
    parent.fail(status.error());
    return cluster;
  }
  const Result<Topology> left = remaining(cluster);
  if (!left) {
    parent.fail(
        Error{ErrorKind::kBadInput, fmt::format("{}: cluster: {}", parent.where(), left.error().message)});
  } else if (*left != topology) {
    parent.fail("cluster", &json, "one whose remaining GPUs are the topology's");
  }
  return cluster;
}

Result<Placement> read_placement(Fields& parent, const ModelShape& shape, const Topology& topology) {
  const Json json = parent.object("placement");
  Fields fields(json, parent.where(), "placement");
  const std::size_t per_gpu = fields.whole("slots_per_gpu", 1, limits::kMaxSlots / topology.gpus());
  const std::size_t columns = per_gpu * topology.gpus();
  std::vector<ExpertId> slots;
  fields.matrix("slots", shape.layers.size(), columns, fmt::format("an expert id below {}", shape.experts),
                [&](const Json& item) {
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

PlanAlgorithm read_algorithm(Fields& parent) {
  const Json json = parent.object("algorithm");
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

/// The keys that hold one of a few words.
void read_choices(Fields& fields, const Json& json, Plan& plan) {
  const std::string attention = fields.text("attention"), label = fields.text("label");
  if (attention != "dp" && attention != "tp") fields.fail("attention", json.find("attention"), "dp or tp");
  plan.attention = attention == "tp" ? Attention::kTensorParallel : Attention::kDataParallel;
  if (const auto rule = dispatch::parse_rule(fields.text("dispatch"))) {
    plan.dispatch = *rule;
  } else {
    fields.fail("dispatch", json.find("dispatch"), "local, sglang, vllm, trtllm or random");
  }
  const auto* found = std::ranges::find_if(kLabels, [&](Label one) { return label == name(one); });
  if (found == std::end(kLabels)) {
    fields.fail("label", json.find("label"), "heuristic, proven or time-limited");
  } else {
    plan.label = *found;
  }
}

void read_plan_assigner(Fields& fields, Plan& plan) {
  const Json* found = fields.member("assigner");
  if (found == nullptr || found->is_null()) return;
  plan.assigner = read_assigner(fields, "assigner", plan.shape);
  const std::size_t homes = plan.placement.topology().homes(plan.attention);
  if (plan.assigner->targets() != homes || plan.assigner->target != signature::Target::kHome) {
    fields.fail("assigner", found, fmt::format("an assigner to {} homes", homes));
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
  if (plan.cluster) out["cluster"] = cluster_json(*plan.cluster);
  out["attention"] = name(plan.attention);
  out["dispatch"] = dispatch::name(plan.dispatch);
  out["placement"] = placement_json(plan.placement);
  out["algorithm"] = algorithm_json(plan.algorithm);
  out["source"] = source_json(plan.source);
  out["loads"] = loads_json(plan);
  Json::Object homes;
  for (const auto& [id, home] : plan.homes) homes.emplace(id, index(home));
  out["homes"] = std::move(homes);
  out["assigner"] = plan.assigner ? assigner_json(*plan.assigner) : Json();
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
  const ModelShape shape = read_shape(fields, "model");
  const Topology topology = read_topology(fields);
  if (!fields.ok()) return tl::unexpected(fields.finish().error());
  auto placement = read_placement(fields, shape, topology);
  if (!placement) return tl::unexpected(fields.ok() ? placement.error() : fields.finish().error());

  Plan plan{.made_by = fields.text("made_by"),
            .shape = shape,
            .placement = std::move(*placement),
            .algorithm = read_algorithm(fields),
            .source = read_source(fields, "source"),
            .loads = {},
            .homes = {},
            .constraints_met = fields.boolean("constraints_met"),
            .notes = fields.texts("notes", 10'000),
            .score = fields.object("score")};
  read_choices(fields, json, plan);
  fields.matrix("loads", shape.layers.size(), shape.experts, "a number >= 0", [&](const Json& item) {
    double value = 0;
    if (!item.to_double(value) || !(value >= 0)) return false;
    plan.loads.push_back(value);
    return true;
  });
  read_homes(fields, plan);
  plan.cluster = read_cluster(fields, topology);
  read_plan_assigner(fields, plan);
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
