#include "plan_robust.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace moesaic::app {
namespace {

using report::number;

/// The figures of one part that are shown.
struct Figures {
  double copies = 0, node = 0, gpu = 0;
};

Figures figures(const evaluate::Score& score, bool per_expert) {
  return {.copies = (per_expert ? score.per_expert : score.dedup).node_copies_per_token_layer,
          .node = score.node_max_over_mean,
          .gpu = score.gpu_max_over_mean};
}

/// Largest of each figure over parts; of one figure where `member` names it. Parts without tokens are left
/// out.
double worst(const std::vector<evaluate::Score>& parts, bool per_expert, double Figures::* member) {
  double most = std::numeric_limits<double>::quiet_NaN();
  for (const evaluate::Score& part : parts) {
    const double value = figures(part, per_expert).*member;
    if (!(value <= most)) most = std::isnan(value) ? most : value;
  }
  return most;
}
double mean(const std::vector<evaluate::Score>& parts, bool per_expert, double Figures::* member) {
  double sum = 0, count = 0;
  for (const evaluate::Score& part : parts) {
    const double value = figures(part, per_expert).*member;
    if (!std::isnan(value)) sum += value, ++count;
  }
  return count > 0 ? sum / count : std::numeric_limits<double>::quiet_NaN();
}

const char* name(planning::RobustGoal goal) {
  return goal == planning::RobustGoal::kWorst ? "worst" : "mean";
}

Json part_json(const evaluate::Score& score) {
  Json json = Json::Object{};
  json["tokens"] = score.tokens;
  json["dedup_node_copies_per_token_layer"] = score.dedup.node_copies_per_token_layer;
  json["per_expert_node_copies_per_token_layer"] = score.per_expert.node_copies_per_token_layer;
  json["node_max_over_mean"] = score.node_max_over_mean;
  json["gpu_max_over_mean"] = score.gpu_max_over_mean;
  return json;
}

}  // namespace

void RobustChoice::add(CLI::App& command) {
  command.add_option("--robust", parts,
                     "Plan for the worst of several parts: windows:K (of time, equal tokens) or domains");
  command
      .add_option("--robust-goal", goal, "With --robust: worst, or mean (parts count alike, or as weighted)")
      ->capture_default_str();
  command.add_option("--robust-weights", weights, "With --robust-goal mean: a weight a part, in their order")
      ->delimiter(',');
}

Result<RobustReport> make_robust(const RobustChoice& choice, const planning::Split& split,
                                 const planning::PlaceOptions& options, const evaluate::ScoreOptions& score,
                                 ThreadPool& pool) {
  if (choice.goal != "worst" && choice.goal != "mean") {
    return bad_input(fmt::format("--robust-goal {}: expected worst or mean.", choice.goal));
  }
  const auto goal = choice.goal == "mean" ? planning::RobustGoal::kMean : planning::RobustGoal::kWorst;
  if (!choice.weights.empty() && goal == planning::RobustGoal::kWorst) {
    return bad_input("--robust-weights: the worst part has no weight; give --robust-goal mean with it.");
  }
  MOESAIC_ASSIGN(const planning::PartChoice parts, planning::parse_parts(choice.parts));
  MOESAIC_ASSIGN(planning::Parts cut, planning::parts_of(split, parts));
  MOESAIC_ASSIGN(
      planning::RobustPlan plan,
      planning::robust_plan(split, cut, options, {.goal = goal, .weights = choice.weights}, score, pool));
  return RobustReport{.parts = std::move(cut), .goal = goal, .plan = std::move(plan)};
}

report::Table robust_table(const RobustReport& report, bool per_expert) {
  report::Table table({"part", "weight", "planned\ncopies", "robust\ncopies", "unseen\ncopies",
                       "robust\ncopies", "unseen\nnode", "robust\nmax/mean", "unseen\nGPU",
                       "robust\nmax/mean"});
  const planning::PartScores &plain = report.plan.plain, &robust = report.plan.robust;
  const auto row = [&](const std::string& name, const std::string& weight, auto figure) {
    std::vector<std::string> cells = {name, weight};
    for (const auto* scores : {&plain.planned, &robust.planned, &plain.scored, &robust.scored})
      cells.push_back(number(figure(*scores, &Figures::copies), 3));
    for (const auto member : {&Figures::node, &Figures::gpu}) {
      for (const auto* scores : {&plain.scored, &robust.scored})
        cells.push_back(number(figure(*scores, member), 3));
    }
    table.add(std::move(cells));
  };
  for (std::size_t p = 0; p < report.parts.size(); ++p) {
    row(report.parts.names[p], number(report.plan.weights[p], 3),
        [&](const std::vector<evaluate::Score>& scores, double Figures::* member) {
          return figures(scores[p], per_expert).*member;
        });
  }
  row("worst", "", [&](const auto& scores, auto member) { return worst(scores, per_expert, member); });
  row("mean", "", [&](const auto& scores, auto member) { return mean(scores, per_expert, member); });
  return table;
}

std::vector<std::size_t> parts_above(const RobustReport& report, double max_imbalance) {
  std::vector<std::size_t> above;
  for (std::size_t p = 0; max_imbalance > 0 && p < report.parts.size(); ++p) {
    const evaluate::Score& part = report.plan.robust.planned[p];
    if (std::max(part.node_max_over_mean, part.gpu_max_over_mean) > max_imbalance) above.push_back(p);
  }
  return above;
}

std::vector<std::string> robust_notes(const RobustReport& report, bool per_expert, double max_imbalance) {
  const planning::PartScores &plain = report.plan.plain, &robust = report.plan.robust;
  const auto of = [&](const std::vector<evaluate::Score>& scores) {
    return report.goal == planning::RobustGoal::kWorst ? worst(scores, per_expert, &Figures::copies)
                                                       : mean(scores, per_expert, &Figures::copies);
  };
  std::vector<std::string> notes = report.parts.said;
  notes.push_back(
      fmt::format("Robust over {} parts: the {} part sends {:.3f} node copies a token-layer where planned on "
                  "({:.3f} without "
                  "--robust) and {:.3f} where not ({:.3f}).",
                  report.parts.size(), name(report.goal), of(robust.planned), of(plain.planned),
                  of(robust.scored), of(plain.scored)));
  for (const std::size_t p : parts_above(report, max_imbalance)) {
    const Figures part = figures(robust.planned[p], per_expert);
    notes.push_back(
        fmt::format("Part {} alone is above --max-imbalance {}: nodes {:.3f}, GPUs {:.3f} on planning data, "
                    "mean over layers ({:.3f}, {:.3f} without --robust).",
                    report.parts.names[p], max_imbalance, part.node, part.gpu,
                    plain.planned[p].node_max_over_mean, plain.planned[p].gpu_max_over_mean));
  }
  return notes;
}

Json robust_options(const RobustReport& report) {
  Json json = Json::Object{};
  json["goal"] = name(report.goal);
  json["round"] = report.plan.round;
  for (std::size_t p = 0; p < report.parts.size(); ++p)
    json["weights"][report.parts.names[p]] = report.plan.weights[p];
  return json;
}

Json robust_json(const RobustReport& report) {
  Json json = Json::Object{};
  json["goal"] = name(report.goal);
  json["round"] = report.plan.round;
  Json::Array parts;
  for (std::size_t p = 0; p < report.parts.size(); ++p) {
    Json one = Json::Object{};
    one["name"] = report.parts.names[p];
    one["weight"] = report.plan.weights[p];
    one["planned"] = part_json(report.plan.robust.planned[p]);
    one["planned_plain"] = part_json(report.plan.plain.planned[p]);
    one["heldout"] = part_json(report.plan.robust.scored[p]);
    one["heldout_plain"] = part_json(report.plan.plain.scored[p]);
    parts.push_back(std::move(one));
  }
  json["parts"] = std::move(parts);
  return json;
}

}  // namespace moesaic::app
