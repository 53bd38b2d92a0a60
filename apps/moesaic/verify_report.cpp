#include "verify_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "report/table.hpp"

namespace moesaic::app {
namespace {

std::string running_text(const std::string& plan, const VerifyReport& report) {
  if (!report.running) return "which placement ran: the dump does not say (it holds logical ids)\n";
  const evaluate::RunningPlan& r = *report.running;
  if (r.equal == r.layers) return fmt::format("the engine runs {}: all {} layers\n", plan, r.layers);
  if (r.runs()) {
    return fmt::format(
        "the engine runs {}: {} layers equal, {} with the same experts on every GPU in another "
        "order\n",
        plan, r.equal, r.same_gpus);
  }
  if (r.engine_slots_per_layer != r.slots_per_layer) {
    return fmt::format("the engine does NOT run {}: it has {} slots a layer, the plan {}\n", plan,
                       r.engine_slots_per_layer, r.slots_per_layer);
  }
  return fmt::format(
      "the engine does NOT run {}: {} of {} layers differ, the first is {}; {} of {} slots hold\n"
      "another GPU's experts{}\n",
      plan, r.layers - r.equal - r.same_gpus, r.layers, index(*r.first_different),
      report::with_commas(r.misplaced_slots), report::with_commas(r.layers * r.slots_per_layer),
      r.engine_default == r.layers ? "; it runs its default map, so no plan was loaded" : "");
}

}  // namespace

std::string verify_text(const std::string& plan, double tolerance, const VerifyReport& report) {
  std::string text = running_text(plan, report);
  report::Table table(
      {"loads", "distance\nfrom plan's", "by chance\nat least", "node\nmax/mean", "GPU\nmax/mean"});
  table.add({"plan's own", "0.000", "-", report::number(report.drift.planned_node_max_over_mean, 3),
             report::number(report.drift.planned_gpu_max_over_mean, 3)});
  const auto add = [&](const std::string& what, const evaluate::Drift& drift) {
    table.add({what, report::number(drift.distance, 3), report::number(drift.noise, 3),
               report::number(drift.observed_node_max_over_mean, 3),
               report::number(drift.observed_gpu_max_over_mean, 3)});
  };
  add("this dump", report.drift);
  for (std::size_t part = 0; part < report.parts.size() && report.parts.size() > 1; ++part) {
    add(fmt::format("  part {} of {}", part + 1, report.parts.size()), report.parts[part]);
  }
  table.add({"EPLB made on this dump", "-", "-", "-", report::number(report.eplb_gpu, 3)});
  text += "\n" + table.text();
  const evaluate::LayerDrift& worst =
      *std::ranges::max_element(report.drift.layers, {}, &evaluate::LayerDrift::observed_gpu_max_over_mean);
  text += fmt::format(
      "Loads of {} {}, phase {}; replicas share an expert's load evenly.\n"
      "Worst layer {}: GPU max/mean {:.3f} (planned {:.3f}), distance {:.3f}.\n",
      report::with_commas(report.loads.rows), report.of_counts ? "count rows" : "tokens",
      name(report.loads.phase), index(worst.layer), worst.observed_gpu_max_over_mean,
      worst.planned_gpu_max_over_mean, worst.distance);
  if (report.observed) {
    text +=
        fmt::format("Node copies a token and layer (dedup): {:.3f}; the plan's held-out score says {:.3f}.\n",
                    report.observed->dedup.node_copies_per_token_layer, report.heldout_copies);
  }
  if (!report.replan()) {
    text += fmt::format(
        "\nThese loads still fit the plan: within {} of what it promised, or nothing better to be had.\n",
        tolerance);
  }
  return text;
}

Json verify_json(const std::string& plan, const std::vector<std::string>& dumps, double tolerance,
                 const VerifyReport& report) {
  Json json;
  json["schema"] = "moesaic.verify/1";
  json["plan"] = plan;
  for (const std::string& dump : dumps) json["dumps"].push_back(dump);
  json["tolerance"] = tolerance;
  json["running"] = Json();
  if (report.running) {
    const evaluate::RunningPlan& r = *report.running;
    Json running;
    running["runs"] = r.runs();
    running["layers"] = r.layers;
    running["equal_layers"] = r.equal;
    running["same_gpus_layers"] = r.same_gpus;
    running["engine_default_layers"] = r.engine_default;
    running["slots_per_layer"] = r.slots_per_layer;
    running["engine_slots_per_layer"] = r.engine_slots_per_layer;
    running["misplaced_slots"] = r.misplaced_slots;
    json["running"] = std::move(running);
  }
  const auto drift_json = [](const evaluate::Drift& drift) {
    Json out;
    out["distance"] = drift.distance;
    out["distance_by_chance"] = drift.noise;
    out["node_max_over_mean"] = drift.observed_node_max_over_mean;
    out["gpu_max_over_mean"] = drift.observed_gpu_max_over_mean;
    return out;
  };
  json["phase"] = name(report.loads.phase);
  json["rows"] = report.loads.rows;
  json["planned"]["node_max_over_mean"] = report.drift.planned_node_max_over_mean;
  json["planned"]["gpu_max_over_mean"] = report.drift.planned_gpu_max_over_mean;
  json["planned"]["heldout_gpu_max_over_mean"] = report.heldout_gpu;
  json["planned"]["heldout_node_copies_per_token_layer"] = report.heldout_copies;
  json["observed"] = drift_json(report.drift);
  json["observed"]["node_copies_per_token_layer"] =
      report.observed ? Json(report.observed->dedup.node_copies_per_token_layer) : Json();
  json["eplb_on_observed_gpu_max_over_mean"] = report.eplb_gpu;
  Json::Array parts, layers;
  for (const evaluate::Drift& part : report.parts) parts.push_back(drift_json(part));
  json["parts"] = std::move(parts);
  for (const evaluate::LayerDrift& layer : report.drift.layers) {
    Json one;
    one["layer"] = index(layer.layer);
    one["distance"] = layer.distance;
    one["distance_by_chance"] = layer.noise;
    one["planned_gpu_max_over_mean"] = layer.planned_gpu_max_over_mean;
    one["gpu_max_over_mean"] = layer.observed_gpu_max_over_mean;
    layers.push_back(std::move(one));
  }
  json["layers"] = std::move(layers);
  json["replan"] = report.replan();
  return json;
}

}  // namespace moesaic::app
