#include "replay_page.hpp"

#include <fmt/format.h>

#include <functional>

#include "report/table.hpp"

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

std::string bytes(std::int64_t value) { return report::with_commas(static_cast<std::uint64_t>(value)); }

report::Curves bytes_by_layer(const replay::Report& report, const PredictedBytes& predicted) {
  const report::Series expected{.name = "predicted by the evaluator",
                                .y = {predicted.inter.begin(), predicted.inter.end()},
                                .reference = true};
  return {.title = "Bytes between nodes",
          .note = "Measured where they arrive.",
          .x = {.name = "layer", .unit = "id"},
          .y = {.name = "bytes", .unit = "B"},
          .at = layer_ids(report),
          .series = {series(report, "measured",
                            [&](const replay::LayerReport& layer) {
                              return static_cast<double>(layer.inter_node_bytes(report.topology));
                            }),
                     expected}};
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

report::Page replay_page(const replay::Report& report, const PredictedBytes& predicted,
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
  bool equal = true;
  for (std::size_t row = 0; row < report.layers.size(); ++row) equal = equal && predicted.holds(report, row);
  const bool right = report.within_tolerance();
  using Mood = report::Finding::Mood;
  page.summary = {{"Bytes between nodes and inside them", equal ? "as predicted" : "not as predicted",
                   fmt::format("{} measured, {} predicted; inside nodes {} and {}.",
                               bytes(report.inter_node_bytes()), bytes(predicted.total_inter()),
                               bytes(report.intra_node_bytes()), bytes(predicted.total_intra())),
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
                       .y = {.name = "distinct experts", .unit = "a GPU"},
                       .at = layer_ids(report),
                       .series = {series(report, "distinct", [](const replay::LayerReport& layer) {
                         return layer.distinct_experts;
                       })}}}}};
  return page;
}

}  // namespace moesaic::app
