#include "plan_page.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "score_table.hpp"

namespace moesaic::app {
namespace {

using planning::NamedScore;
using report::Axis;
using report::Curves;
using report::Finding;
using report::HeatMap;
using report::number;
using report::PageTable;
using report::Section;
using report::Series;

constexpr double kNothing = std::numeric_limits<double>::quiet_NaN();

double copies(const evaluate::Score& score, bool per_expert) {
  return (per_expert ? score.per_expert : score.dedup).node_copies_per_token_layer;
}

std::string percent_fewer(double now, double before) {
  const double change = 100 * (1 - now / before);
  return change >= 0 ? fmt::format("{:.1f} % fewer", change) : fmt::format("{:.1f} % more", -change);
}

/// The placements a page draws: the plan (named "this plan"), the running one, and two references.
struct Drawn {
  std::string name;
  const evaluate::Score* score;
  bool reference;
};

std::vector<Drawn> drawn(const PlanShown& shown) {
  std::vector<Drawn> all = {{"this plan", &shown.scores[0].score, false}};
  if (shown.change != nullptr) all.push_back({"running plan", &shown.change->before.score, false});
  for (const NamedScore& named : shown.scores.subspan(1)) {
    if (named.name == "eplb") all.push_back({"EPLB", &named.score, false});
  }
  for (const NamedScore& named : shown.scores.subspan(1)) {
    if (named.name == "linear") all.push_back({"linear", &named.score, true});
  }
  std::erase_if(all, [](const Drawn& one) { return one.score->layers.empty(); });
  return all;
}

const evaluate::Score* find(const PlanShown& shown, std::string_view name) {
  for (const NamedScore& named : shown.scores.subspan(1)) {
    if (named.name == name) return &named.score;
  }
  return nullptr;
}

// --- in plain words

Finding copies_finding(const PlanShown& shown) {
  const double own = copies(shown.scores[0].score, shown.per_expert);
  const evaluate::Score *linear = find(shown, "linear"), *eplb = find(shown, "eplb");
  Finding finding{.title = "Traffic between nodes", .verdict = {}, .text = {}};
  if (shown.plan.placement.topology().nodes == 1) {
    finding.verdict = "none";
    finding.text = "All GPUs are in one node: nothing crosses nodes, and only balance is left to win.";
    return finding;
  }
  if (std::isnan(own) || linear == nullptr || eplb == nullptr) {
    finding.verdict = "not known";
    finding.text =
        "The trace holds counts: which experts a token uses together is not known, and so no copies.";
    return finding;
  }
  const double before = copies(*linear, shown.per_expert);
  finding.verdict = percent_fewer(own, before);
  finding.mood = own < before ? Finding::Mood::kGood : Finding::Mood::kBad;
  finding.text = fmt::format(
      "On requests it has not seen a token sends {:.3f} copies to other nodes a layer, {} than with experts "
      "in id "
      "order ({:.3f}) and {} than with EPLB ({:.3f}).",
      own, percent_fewer(own, before), before, percent_fewer(own, copies(*eplb, shown.per_expert)),
      copies(*eplb, shown.per_expert));
  return finding;
}

Finding balance_finding(const PlanShown& shown) {
  const evaluate::Score& own = shown.scores[0].score;
  const evaluate::Score* eplb = find(shown, "eplb");
  Finding finding{
      .title = "Balance", .verdict = fmt::format("{:.2f} × mean", own.gpu_max_over_mean), .text = {}};
  finding.text = fmt::format(
      "The fullest GPU of a layer computes {:.2f} times the mean, the fullest node {:.2f} times, mean over "
      "layers.",
      own.gpu_max_over_mean, own.node_max_over_mean);
  if (eplb != nullptr) {
    finding.text += fmt::format(" EPLB, which sees load alone, reaches {:.2f} and {:.2f}.",
                                eplb->gpu_max_over_mean, eplb->node_max_over_mean);
    finding.mood = own.gpu_max_over_mean <= eplb->gpu_max_over_mean + 0.1   ? Finding::Mood::kGood
                   : own.gpu_max_over_mean <= eplb->gpu_max_over_mean + 0.4 ? Finding::Mood::kNeutral
                                                                            : Finding::Mood::kBad;
  }
  return finding;
}

Finding replica_finding(const PlanShown& shown) {
  const Placement& placement = shown.plan.placement;
  const auto layers = static_cast<double>(placement.layers().size());
  const double replicas = static_cast<double>(placement.extra_slots()) * layers;
  Finding finding{.title = "Memory", .verdict = {}, .text = {}};
  finding.verdict = placement.extra_slots() == 0
                        ? "no replicas"
                        : fmt::format("{} extra slots a layer", placement.extra_slots());
  finding.text = fmt::format("{} slots a GPU and layer hold {} experts.", placement.slots_per_gpu(),
                             placement.experts());
  if (shown.expert_bytes > 0) {
    const double a_gpu = static_cast<double>(placement.slots_per_gpu()) * layers * shown.expert_bytes;
    finding.text += fmt::format(" Expert weights take {} a GPU", report::bytes(a_gpu));
    finding.text +=
        replicas > 0 ? fmt::format("; replicas take {} in all.", report::bytes(replicas * shown.expert_bytes))
                     : ".";
  }
  return finding;
}

Finding proof_finding(const PlanShown& shown) {
  const artifact::Plan& plan = shown.plan;
  Finding finding{.title = "How sure", .verdict = std::string(artifact::name(plan.label)), .text = {}};
  finding.text =
      plan.label == artifact::Label::kProven
          ? "No placement with these slots sends fewer copies for the planned tokens and homes."
          : "Found by search: a better placement may exist. What is printed was scored by the reference, "
            "not by the search.";
  if (!plan.constraints_met) {
    finding.mood = Finding::Mood::kBad;
    finding.verdict += ", a limit is missed";
    finding.text += " A limit is missed on planning data; the notes at the end name the layers.";
  }
  return finding;
}

// --- sections

Axis node_axis(const char* name, std::size_t nodes) {
  Axis axis{.name = name, .unit = "id"};
  for (std::size_t node = 0; node < nodes; ++node) axis.labels.push_back(std::to_string(node));
  return axis;
}

Section traffic_section(const PlanShown& shown, const std::vector<Drawn>& all) {
  Section out{.title = "Traffic between nodes", .paragraphs = {}};
  const std::size_t nodes = shown.plan.placement.topology().nodes;
  HeatMap map{
      .title = "From node to node",
      .note =
          "Copies of hidden states that a token of the row's node sends to the column's, a layer, weighted "
          "by where tokens live. All views share one scale.",
      .rows = node_axis("from node", nodes),
      .columns = node_axis("to node", nodes),
      .row_count = nodes,
      .column_count = nodes,
      .views = {},
      .one_scale = true};
  const auto add = [&](const Drawn& one, const std::vector<double>& flow, const char* mode) {
    if (flow.empty() || nodes < 2) return;
    std::vector<double> values = flow;
    for (std::size_t node = 0; node < nodes; ++node) values[node * nodes + node] = kNothing;
    map.views.push_back({.name = fmt::format("{}, {}", one.name, mode),
                         .value = "copies",
                         .unit = "copies a token-layer",
                         .scale = report::Scale::kSequential,
                         .values = std::move(values)});
  };
  for (const bool per_expert : {shown.per_expert, !shown.per_expert}) {
    for (const Drawn& one : all)
      add(one, per_expert ? one.score->per_expert_flow : one.score->dedup_flow,
          per_expert ? "one a row" : "one a node");
  }
  if (map.views.empty()) return out;
  out.paragraphs.emplace_back(
      "One a node: a token crosses to a node once, however many of its experts are there (DeepEP normal). "
      "One a row: "
      "every (token, expert) pair that leaves its node is a message (low-latency kernels).");
  out.items.emplace_back(std::move(map));
  return out;
}

Curves by_layer(const PlanShown& shown, const std::vector<Drawn>& all, std::string title, Axis y,
                bool from_zero, double evaluate::LayerScore::* figure) {
  Curves chart{.title = std::move(title),
               .note = {},
               .x = {.name = "layer", .unit = "id"},
               .y = std::move(y),
               .at = {},
               .series = {}};
  for (const LayerId layer : shown.plan.placement.layers())
    chart.at.push_back(static_cast<double>(index(layer)));
  for (const Drawn& one : all) {
    Series series{.name = one.name, .y = {}, .reference = one.reference};
    for (const evaluate::LayerScore& layer : one.score->layers) series.y.push_back(layer.*figure);
    chart.series.push_back(std::move(series));
  }
  chart.from_zero = from_zero;
  return chart;
}

Section layer_section(const PlanShown& shown, const std::vector<Drawn>& all) {
  Section out{.title = "Layer by layer", .paragraphs = {}};
  if (all.empty()) return out;
  out.paragraphs.emplace_back("On requests that were not planned on.");
  using L = evaluate::LayerScore;
  if (shown.plan.placement.topology().nodes > 1 && !all[0].score->dedup_flow.empty()) {
    out.items.emplace_back(by_layer(shown, all, "Copies to other nodes, one a node",
                                    {.name = "copies", .unit = "a token"}, true, &L::dedup_node_copies));
    out.items.emplace_back(by_layer(shown, all, "Copies to other nodes, one a row",
                                    {.name = "copies", .unit = "a token"}, true, &L::per_expert_node_copies));
    out.items.emplace_back(by_layer(shown, all, "Fullest node", {.name = "load", .unit = "× mean"}, false,
                                    &L::node_max_over_mean));
  }
  out.items.emplace_back(
      by_layer(shown, all, "Fullest GPU", {.name = "load", .unit = "× mean"}, false, &L::gpu_max_over_mean));
  return out;
}

/// Rows of each GPU, or of each node, over all layers, over their mean.
std::vector<double> totals(const evaluate::Score& score, std::size_t gpus_a_part) {
  std::vector<double> sum(score.layers.empty() ? 0 : score.layers[0].gpu_rows.size() / gpus_a_part);
  for (const evaluate::LayerScore& layer : score.layers) {
    for (std::size_t g = 0; g < layer.gpu_rows.size(); ++g)
      sum[g / gpus_a_part] += static_cast<double>(layer.gpu_rows[g]);
  }
  const double mean = std::accumulate(sum.begin(), sum.end(), 0.0) /
                      static_cast<double>(std::max<std::size_t>(1, sum.size()));
  for (double& value : sum) value = mean > 0 ? value / mean : kNothing;
  return sum;
}

Curves load_bars(const std::vector<Drawn>& all, std::string title, const char* axis,
                 std::size_t gpus_a_part) {
  Curves chart{.title = std::move(title),
               .note = "All layers together.",
               .x = {.name = axis, .unit = "id"},
               .y = {.name = "load", .unit = "× mean"},
               .at = {},
               .series = {}};
  for (const Drawn& one : all)
    chart.series.push_back(
        {.name = one.name, .y = totals(*one.score, gpus_a_part), .reference = one.reference});
  for (std::size_t i = 0; i < chart.series[0].y.size(); ++i) {
    chart.at.push_back(static_cast<double>(i));
    chart.x.labels.push_back(std::to_string(i));
  }
  chart.bars = true;
  return chart;
}

HeatMap load_map(const PlanShown& shown, const std::vector<Drawn>& all) {
  const std::size_t gpus = shown.plan.placement.topology().gpus();
  HeatMap map{
      .title = "Load above the mean, layer by layer",
      .note =
          "What a GPU computes beyond the layer's mean; the others wait for it. All views share one scale.",
      .rows = {.name = "layer", .unit = "id"},
      .columns = {.name = "GPU", .unit = "id"},
      .row_count = shown.plan.placement.layers().size(),
      .column_count = gpus,
      .views = {},
      .one_scale = true};
  for (const LayerId layer : shown.plan.placement.layers())
    map.rows.labels.push_back(std::to_string(index(layer)));
  for (std::size_t gpu = 0; gpu < gpus; ++gpu) map.columns.labels.push_back(std::to_string(gpu));
  for (const Drawn& one : all) {
    std::vector<double> values;
    for (const evaluate::LayerScore& layer : one.score->layers) {
      const double mean = static_cast<double>(std::accumulate(layer.gpu_rows.begin(), layer.gpu_rows.end(),
                                                              std::int64_t{0})) /
                          static_cast<double>(gpus);
      for (const std::int64_t rows : layer.gpu_rows)
        values.push_back(mean > 0 ? std::max(0.0, 100 * (static_cast<double>(rows) / mean - 1)) : kNothing);
    }
    map.views.push_back({.name = one.name,
                         .value = "load above the mean",
                         .unit = "% of the mean",
                         .scale = report::Scale::kSequential,
                         .values = std::move(values)});
  }
  return map;
}

Section load_section(const PlanShown& shown, const std::vector<Drawn>& all) {
  Section out{.title = "Load", .paragraphs = {}};
  const Topology& topology = shown.plan.placement.topology();
  if (all.empty() || topology.gpus() < 2) return out;
  if (topology.nodes > 1)
    out.items.emplace_back(load_bars(all, "Load of every node", "node", topology.gpus_per_node));
  out.items.emplace_back(load_bars(all, "Load of every GPU", "GPU", 1));
  out.items.emplace_back(load_map(shown, all));
  return out;
}

Section move_section(const PlanShown& shown) {
  Section out{.title = "What moves", .paragraphs = {}};
  if (shown.change == nullptr) return out;
  const Change& change = *shown.change;
  const placement::Transfers& moved = change.changed.transfers;
  std::string text =
      fmt::format("{} of {} slots take another expert; {} of those experts come from another node",
                  moved.slots, change.slots, moved.inter_node);
  if (change.expert_bytes > 0) {
    text += fmt::format(": {} to move, {} of it between nodes",
                        report::bytes(static_cast<double>(moved.slots) * change.expert_bytes),
                        report::bytes(static_cast<double>(moved.inter_node) * change.expert_bytes));
  }
  out.paragraphs.push_back(text + ".");
  out.paragraphs.emplace_back(
      "Homes stay those of the running plan. SGLang and TensorRT-LLM read their expert map at start: a "
      "changed one needs "
      "a restart.");
  Curves curve{
      .title = "Gain over slots moved",
      .note =
          "On planning tokens, as a share of what the whole change gains: copies, and load above the limit "
          "counted as copies.",
      .x = {.name = "slots moved", .unit = "%"},
      .y = {.name = "gain", .unit = "share of all"},
      .at = {},
      .series = {}};
  Series gain{.name = "gain", .y = {}};
  for (const placement::ReplanPoint& point : change.changed.curve) {
    curve.at.push_back(100 * static_cast<double>(point.moves) / static_cast<double>(change.slots));
    gain.y.push_back(point.gain);
  }
  curve.series.push_back(std::move(gain));
  if (curve.at.size() > 1) out.items.emplace_back(std::move(curve));
  std::vector<NamedScore> both = {change.before, change.after};
  out.items.emplace_back(PageTable{
      .title = "Before and after", .note = "Same requests and homes.", .table = score_report(both)});
  return out;
}

Section part_section(const PlanShown& shown) {
  Section out{.title = "Part by part", .paragraphs = {}};
  if (shown.robust == nullptr) return out;
  out.paragraphs.emplace_back(
      "The plan was made for the parts of the traffic below, and the same search without parts stands beside "
      "it. Unseen: "
      "held-out requests.");
  out.items.emplace_back(
      PageTable{.title = "Copies and balance of every part",
                .note = "Node copies a token-layer; weights are those the kept plan was made with.",
                .table = robust_table(*shown.robust, shown.per_expert)});
  return out;
}

Section score_section(const PlanShown& shown) {
  Section out{.title = "All scores", .paragraphs = {}};
  out.items.emplace_back(PageTable{.title = "The plan beside what others do",
                                   .note = "Copies are a token and layer. Random is the mean of five seeds.",
                                   .table = score_report(shown.scores)});
  return out;
}

Section proof_section(const PlanShown& shown) {
  const artifact::Plan& plan = shown.plan;
  Section out{.title = "What is proven, what is not", .paragraphs = {}};
  report::Table table({"statement", "how it is known"});
  table.add({"copies, loads and bytes of this page",
             "counted exactly by the reference, on requests the plan has not seen"});
  table.add({"every expert has a slot, every GPU the same number",
             "checked when the plan was made, and when it is read"});
  table.add({"no better placement exists", plan.label == artifact::Label::kProven
                                               ? "proven by a bound (see the notes)"
                                               : "not known: the search is a heuristic"});
  table.add(
      {"limits and pins hold", plan.constraints_met ? "checked on planning data" : "missed (see the notes)"});
  table.add(
      {"later traffic behaves alike", "not known: `moesaic verify` compares the plan with a later dump"});
  out.items.emplace_back(PageTable{.title = "Statements", .note = {}, .table = std::move(table)});
  return out;
}

}  // namespace

report::Page plan_page(const PlanShown& shown) {
  const artifact::Plan& plan = shown.plan;
  const Topology& topology = plan.placement.topology();
  report::Page page{
      .title = "A plan for " + (plan.shape.model.empty() ? std::string("the model") : plan.shape.model),
      .subtitle = shown.path,
      .facts = {},
      .summary = {},
      .sections = {},
      .notes = shown.said};
  const auto fact = [&](const char* name, const std::string& value) { page.facts.emplace_back(name, value); };
  fact("planned on", shown.trace);
  fact("machines", fmt::format("{} nodes × {} GPUs", topology.nodes, topology.gpus_per_node));
  fact("experts", fmt::format("{} layers × {}, {} a token", plan.shape.layers.size(), plan.shape.experts,
                              plan.shape.top_k));
  fact("slots a GPU", std::to_string(plan.placement.slots_per_gpu()));
  fact("algorithm", plan.algorithm.name);
  fact("replica choice", std::string(dispatch::name(plan.dispatch)));
  fact("tokens scored", report::with_commas(static_cast<std::uint64_t>(shown.scores[0].score.tokens)));
  page.summary = {copies_finding(shown), balance_finding(shown), replica_finding(shown),
                  proof_finding(shown)};
  const std::vector<Drawn> all = drawn(shown);
  for (Section section :
       {traffic_section(shown, all), layer_section(shown, all), load_section(shown, all), move_section(shown),
        part_section(shown), score_section(shown), proof_section(shown)}) {
    if (!section.items.empty()) page.sections.push_back(std::move(section));
  }
  page.notes.insert(page.notes.end(), plan.notes.begin(), plan.notes.end());
  return page;
}

}  // namespace moesaic::app
