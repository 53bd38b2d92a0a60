#include "replay_page.hpp"

#include <fmt/format.h>

#include <functional>

namespace moesaic::app {
namespace {

std::vector<double> layer_ids(const replay::Report& report) {
  std::vector<double> ids;
  for (const replay::LayerReport& layer : report.layers)
    ids.push_back(static_cast<double>(index(layer.layer)));
  return ids;
}

report::Series series(const replay::Report& report, std::string name,
                      const std::function<double(const replay::LayerReport&)>& figure,
                      bool reference = false) {
  report::Series out{.name = std::move(name), .y = {}, .reference = reference};
  for (const replay::LayerReport& layer : report.layers) out.y.push_back(figure(layer));
  return out;
}

/// [from, to] over GPUs: all layers together, then each.
report::HeatMap rank_matrix(const replay::Report& report) {
  const std::size_t n = report.topology.gpus();
  report::HeatMap map{.title = "Bytes from rank to rank",
                      .note = "Hidden states, dispatch and combine. Ranks of a node are neighbours.",
                      .rows = {.name = "from rank", .unit = "id"},
                      .columns = {.name = "to rank", .unit = "id"},
                      .row_count = n,
                      .column_count = n,
                      .views = {}};
  report::View all{.name = "all layers", .value = "bytes", .unit = "B", .values = std::vector<double>(n * n)};
  for (const replay::LayerReport& layer : report.layers) {
    report::View one{.name = fmt::format("layer {}", index(layer.layer)), .value = "bytes", .unit = "B"};
    for (std::size_t i = 0; i < n * n; ++i) {
      one.values.push_back(static_cast<double>(layer.dispatch[i] + layer.combine[i]));
      all.values[i] += one.values.back();
    }
    map.views.push_back(std::move(one));
  }
  map.views.insert(map.views.begin(), std::move(all));
  return map;
}

report::Curves bytes_by_layer(const replay::Report& report, const PredictedCopies& predicted) {
  const double copy = 2.0 * static_cast<double>(replay::vector_bytes(report.options));
  report::Series expected{.name = "predicted by the evaluator", .y = {}, .reference = true};
  for (const std::int64_t copies : predicted.node) expected.y.push_back(copy * static_cast<double>(copies));
  return {.title = "Bytes between nodes",
          .note = "Measured where they arrive.",
          .x = {.name = "layer", .unit = "id"},
          .y = {.name = "bytes", .unit = "B"},
          .at = layer_ids(report),
          .series = {series(report, "measured",
                            [&](const replay::LayerReport& layer) {
                              return static_cast<double>(layer.inter_node_bytes(report.topology));
                            }),
                     std::move(expected)}};
}

report::Curves time_by_layer(const replay::Report& report) {
  const auto part = [&](std::string name, double replay::Seconds::* which) {
    return series(report, std::move(name),
                  [which](const replay::LayerReport& layer) { return layer.seconds.*which; });
  };
  return {.title = "Time",
          .note = "Mean of ranks; waiting is at the barriers before dispatch and before combine.",
          .x = {.name = "layer", .unit = "id"},
          .y = {.name = "time", .unit = "s"},
          .at = layer_ids(report),
          .series = {part("dispatch", &replay::Seconds::dispatch), part("experts", &replay::Seconds::compute),
                     part("combine", &replay::Seconds::combine), part("waiting", &replay::Seconds::wait)}};
}

}  // namespace

report::Page replay_page(const replay::Report& report, const PredictedCopies& predicted,
                         const std::string& plan, const std::string& trace, const ReplayWork& work) {
  report::Page page{
      .title = "Replay of a plan",
      .subtitle = fmt::format("{} on {}", plan, trace),
      .facts = {{"requests", work.on},
                {"tokens", fmt::format("{}", report.tokens)},
                {"ranks", fmt::format("{} nodes x {}", report.topology.nodes, report.topology.gpus_per_node)},
                {"mode", std::string(replay::name(report.options.mode))},
                {"wire", std::string(replay::name(report.options.wire))},
                {"hidden state", fmt::format("{} numbers", report.options.hidden)}},
      .summary = {},
      .sections = {},
      .notes = work.said};
  const auto copy = static_cast<std::int64_t>(2 * replay::vector_bytes(report.options));
  std::int64_t expected = 0;
  for (const std::int64_t copies : predicted.node) expected += copy * copies;
  const bool equal = expected == report.inter_node_bytes(), right = report.within_tolerance();
  using Mood = report::Finding::Mood;
  page.summary = {{"Bytes between nodes", equal ? "as predicted" : "not as predicted",
                   fmt::format("{} measured, {} predicted.", report.inter_node_bytes(), expected),
                   equal ? Mood::kGood : Mood::kBad},
                  {"Outputs", right ? "right" : "wrong",
                   fmt::format("{} compared with a reference that never communicates; largest error {:.3g}.",
                               report.checked_tokens, report.max_abs_error()),
                   right ? Mood::kGood : Mood::kBad}};
  page.sections = {
      {"Who sends to whom", {}, {rank_matrix(report), bytes_by_layer(report, predicted)}},
      {"Where the time goes", {}, {time_by_layer(report)}},
      {"Experts",
       {},
       {report::Curves{.title = "Distinct experts",
                       .note = "That a GPU runs in a micro-batch, mean: weights it has to read.",
                       .x = {.name = "layer", .unit = "id"},
                       .y = {.name = "experts", .unit = "1"},
                       .at = layer_ids(report),
                       .series = {series(report, "distinct", [](const replay::LayerReport& layer) {
                         return layer.distinct_experts;
                       })}}}}};
  return page;
}

}  // namespace moesaic::app
