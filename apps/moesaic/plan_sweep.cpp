#include "plan_sweep.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <iterator>
#include <limits>
#include <optional>

#include "planning/sweep.hpp"
#include "report/page.hpp"
#include "report/table.hpp"
#include "score_table.hpp"

namespace moesaic::app {
namespace {

/// A point and what its replicas take and save.
struct Priced {
  const planning::SweepPoint* point = nullptr;
  std::size_t extra_slots = 0;                       ///< a layer, over all GPUs
  double gib = 0;                                    ///< of all replicas, layers and GPUs; NaN = not known
  double dedup_step_ms = 0, per_expert_step_ms = 0;  ///< 0 without --time
  double saved_bytes_per_gib = 0;  ///< inter-node bytes a token, against the fewest slots at that limit
};

std::vector<Priced> price(const std::vector<planning::SweepPoint>& points, const trace::Trace& trace,
                          const Resolved& resolved) {
  constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();
  const ModelShape& shape = trace.shape();
  std::vector<Priced> all;
  for (const planning::SweepPoint& point : points) {
    Priced priced{.point = &point,
                  .extra_slots = point.slots_per_gpu * resolved.split.topology.gpus() - shape.experts};
    const auto replicas = static_cast<double>(priced.extra_slots * shape.layers.size());
    priced.gib = resolved.expert_bytes > 0 ? replicas * resolved.expert_bytes / 0x1p30 : kUnknown;
    const Priced* fewest = nullptr;  // points come by slots, ascending
    for (const Priced& before : all) {
      if (before.point->max_imbalance != point.max_imbalance) continue;
      fewest = &before;
      break;
    }
    priced.saved_bytes_per_gib = kUnknown;
    if (fewest != nullptr && priced.gib > fewest->gib) {
      priced.saved_bytes_per_gib = (fewest->point->score.dedup.inter_node_bytes_per_token -
                                    point.score.dedup.inter_node_bytes_per_token) /
                                   (priced.gib - fewest->gib);
    }
    all.push_back(priced);
  }
  return all;
}

report::Table table_of(const std::vector<Priced>& points) {
  std::vector<std::string> headers = {
      "extra\nslots",  "limit",         "dedup\nnode",          "per-exp\nnode",      "node\nmax/mean",
      "GPU\nmax/mean", "replicas\nGiB", "MB/token\ninter-node", "KB/token\nsaved/GiB"};
  const bool timed = points[0].dedup_step_ms > 0;
  if (timed) headers.insert(headers.end(), {"dedup\nstep ms", "per-exp\nstep ms"});
  report::Table table(headers);
  for (const Priced& priced : points) {
    const evaluate::Score& s = priced.point->score;
    std::vector<std::string> cells = {std::to_string(priced.extra_slots),
                                      report::number(priced.point->max_imbalance, 2),
                                      report::number(s.dedup.node_copies_per_token_layer, 3),
                                      report::number(s.per_expert.node_copies_per_token_layer, 3),
                                      report::number(s.node_max_over_mean, 3),
                                      report::number(s.gpu_max_over_mean, 3),
                                      report::number(priced.gib, 2),
                                      report::number(s.dedup.inter_node_bytes_per_token / 1e6, 3),
                                      report::number(priced.saved_bytes_per_gib / 1e3, 2)};
    if (timed) {
      cells.push_back(report::number(priced.dedup_step_ms, 3));
      cells.push_back(report::number(priced.per_expert_step_ms, 3));
    }
    table.add(std::move(cells));
  }
  return table;
}

/// One figure over extra slots, a line a limit.
report::Curves by_slots(const std::vector<Priced>& points, std::string title, std::string note,
                        report::Axis y, const std::function<double(const Priced&)>& figure,
                        bool from_zero = true) {
  report::Curves chart{.title = std::move(title),
                       .note = std::move(note),
                       .x = {.name = "extra slots", .unit = "a layer"},
                       .y = std::move(y),
                       .at = {},
                       .series = {}};
  for (const Priced& point : points) {
    const auto at = static_cast<double>(point.extra_slots);
    if (chart.at.empty() || chart.at.back() != at) chart.at.push_back(at);
    const std::string name = "limit " + report::number(point.point->max_imbalance, 2);
    auto series = std::ranges::find(chart.series, name, &report::Series::name);
    if (series == chart.series.end()) {
      chart.series.push_back({.name = name, .y = {}});
      series = std::prev(chart.series.end());
    }
    series->y.push_back(figure(point));
  }
  chart.from_zero = from_zero;
  return chart;
}

report::Page page_of(const std::vector<Priced>& points, const std::string& trace, const trace::Trace& opened,
                     const Resolved& resolved, const std::string& algorithm,
                     const std::optional<TimeReport>& time) {
  const Topology& topology = resolved.split.topology;
  const std::string& model = opened.shape().model;
  report::Page page{.title = "What replicas buy for " + (model.empty() ? std::string("the model") : model),
                    .subtitle = trace,
                    .facts = {},
                    .summary = {},
                    .sections = {},
                    .notes = resolved.said};
  page.facts = {{"machines", fmt::format("{} nodes × {} GPUs", topology.nodes, topology.gpus_per_node)},
                {"experts", fmt::format("{} layers × {}, {} a token", opened.shape().layers.size(),
                                        opened.shape().experts, opened.shape().top_k)},
                {"algorithm", algorithm},
                {"replica choice", std::string(dispatch::name(resolved.rule))}};
  const auto [fewest, most] = std::ranges::minmax(
      points, {}, [](const Priced& p) { return p.point->score.dedup.node_copies_per_token_layer; });
  page.summary.push_back(
      {.title = "Copies",
       .verdict =
           fmt::format("{} to {}", report::number(most.point->score.dedup.node_copies_per_token_layer, 2),
                       report::number(fewest.point->score.dedup.node_copies_per_token_layer, 2)),
       .text = fmt::format(
           "Copies to other nodes a token and layer, from {} extra slots under limit {} to {} under {}: "
           "on requests that were not planned on.",
           most.extra_slots, report::number(most.point->max_imbalance, 2), fewest.extra_slots,
           report::number(fewest.point->max_imbalance, 2))});
  if (time) {
    const Priced& fastest = *std::ranges::min_element(points, {}, &Priced::dedup_step_ms);
    page.summary.push_back(
        {.title = "Time",
         .verdict = fmt::format("{} ms", report::number(fastest.dedup_step_ms, 2)),
         .text = fmt::format(
             "The fastest modelled step (dedup) has {} extra slots under limit {}. A model, not a "
             "measurement: {}, {} tokens a GPU.",
             fastest.extra_slots, report::number(fastest.point->max_imbalance, 2), time->hardware,
             time->tokens_per_gpu)});
    page.notes.insert(page.notes.end(), time->said.begin(), time->said.end());
  }
  report::Section copies{.title = "Traffic",
                         .paragraphs = {"Limits bind on planning requests; all figures are of others."}};
  const report::Axis copy_axis{.name = "copies", .unit = "a token-layer"};
  copies.items.emplace_back(
      by_slots(points, "Copies to other nodes, one a node", {}, copy_axis,
               [](const Priced& p) { return p.point->score.dedup.node_copies_per_token_layer; }));
  copies.items.emplace_back(
      by_slots(points, "Copies to other nodes, one a row", {}, copy_axis,
               [](const Priced& p) { return p.point->score.per_expert.node_copies_per_token_layer; }));
  report::Section balance{.title = "Balance", .paragraphs = {}};
  const report::Axis load_axis{.name = "load", .unit = "× mean"};
  balance.items.emplace_back(by_slots(
      points, "Fullest GPU", {}, load_axis, [](const Priced& p) { return p.point->score.gpu_max_over_mean; },
      false));
  balance.items.emplace_back(by_slots(
      points, "Fullest node", {}, load_axis,
      [](const Priced& p) { return p.point->score.node_max_over_mean; }, false));
  report::Section price{.title = "Price", .paragraphs = {}};
  if (resolved.expert_bytes > 0) {
    price.items.emplace_back(
        by_slots(points, "Memory of all replicas", "All layers and GPUs; the same for every limit.",
                 {.name = "replicas", .unit = "GiB"}, [](const Priced& p) { return p.gib; }));
    price.items.emplace_back(by_slots(points, "What a GiB of replicas saves",
                                      "Inter-node bytes a token against the fewest slots at that limit.",
                                      {.name = "saved", .unit = "KB a token and GiB"},
                                      [](const Priced& p) { return p.saved_bytes_per_gib / 1e3; }));
  }
  if (time) {
    for (const auto& [title, member] :
         {std::pair("Modelled step, one copy a node", &Priced::dedup_step_ms),
          std::pair("Modelled step, one copy a row", &Priced::per_expert_step_ms)}) {
      price.items.emplace_back(by_slots(
          points, title, {}, {.name = "step", .unit = "ms"}, [of = member](const Priced& p) { return p.*of; },
          false));
    }
  }
  report::Section all{.title = "All plans", .paragraphs = {}};
  all.items.emplace_back(report::PageTable{
      .title = "Every plan of the sweep",
      .note = "Replicas: of all layers and GPUs. Saved: against the first row of the same limit.",
      .table = table_of(points)});
  for (report::Section* section : {&copies, &balance, &price, &all}) {
    if (!section->items.empty()) page.sections.push_back(std::move(*section));
  }
  return page;
}

Result<std::vector<std::size_t>> slots_of(const SweepOptions& sweep, const Resolved& resolved,
                                          const ModelShape& shape) {
  if (sweep.extra_slots.empty()) return planning::sweep_slots(shape.experts, resolved.split.topology);
  std::vector<std::size_t> all;
  for (const std::size_t extra : sweep.extra_slots) {
    MOESAIC_ASSIGN(const std::size_t slots,
                   planning::slots_per_gpu({.extra_slots = extra, .extra_option = "--sweep-slots"},
                                           resolved.split.topology, shape.experts, shape.layers.size(),
                                           resolved.expert_bytes));
    all.push_back(slots);
  }
  std::ranges::sort(all);
  all.erase(std::ranges::unique(all).begin(), all.end());
  return all;
}

}  // namespace

void SweepOptions::add(CLI::App& command) {
  command.add_flag("--sweep", on, "Write no plan: score plans over extra slots and imbalance limits");
  command
      .add_option("--sweep-slots", extra_slots,
                  "Extra slots of a layer to try (default: 0, 25, 50 and 100 % of the experts)")
      ->delimiter(',');
  command.add_option("--sweep-imbalance", imbalances, "Values of --max-imbalance to try")
      ->delimiter(',')
      ->capture_default_str()
      ->check(CLI::Range(1.0, 1000.0));
  time.add(command);
}

Status run_sweep(Context& context, const SweepOptions& sweep, const PlanOptions& options,
                 const std::string& algorithm, const std::string& path, const SweepFiles& write) {
  if (options.slots_per_gpu || options.extra_slots || options.memory_gib || options.max_imbalance > 0 ||
      options.mean_imbalance > 0) {
    return bad_input(
        "--sweep: tries its own slots and limits; give --sweep-slots and --sweep-imbalance instead of "
        "--slots-per-gpu, --extra-slots, --memory-gib, --max-imbalance and --mean-imbalance.");
  }
  if (options.optimizes_time()) {
    return bad_input(
        "--optimize time: makes one plan; --sweep --time models the step of every plan it makes.");
  }
  ThreadPool pool(options.threads);
  const auto opened = trace::Trace::open(context.files, path);
  MOESAIC_TRY(comm::agree(context.comm, opened));
  const trace::Trace& trace = *opened;
  if (trace.kind() == trace::Kind::kCounts) {
    return bad_input(
        fmt::format("--sweep: {} holds counts, and copies need tokens; give a per-token trace.", path));
  }
  // Slots are the sweep's: what resolve() would make of none given must not fail where 0 do not divide.
  PlanOptions fitting = options;
  MOESAIC_ASSIGN(const UsableGpus usable, usable_gpus(options));
  fitting.slots_per_gpu = planning::sweep_slots(trace.shape().experts, usable.topology)[0];
  MOESAIC_ASSIGN(const Resolved resolved, resolve(context.files, fitting, trace, pool));
  MOESAIC_ASSIGN(planning::PlaceOptions place, place_options(options, resolved, algorithm));
  place.comm = &context.comm;
  MOESAIC_ASSIGN(const std::vector<std::size_t> slots, slots_of(sweep, resolved, trace.shape()));
  progress("grouping requests");
  const auto split = planning::Split::make(trace, resolved.split, pool);
  MOESAIC_TRY(comm::agree(context.comm, split));
  MOESAIC_ASSIGN(const std::vector<planning::SweepPoint> points,
                 planning::sweep(*split, slots, sweep.imbalances, place,
                                 {.objective = place.objective,
                                  .step_requests = options.step_tokens,
                                  .bytes_per_copy = resolved.bytes_per_copy,
                                  .comm = &context.comm},
                                 pool, progress));
  std::optional<TimeReport> time;
  if (sweep.time.on) {
    progress("modelling steps");
    MOESAIC_ASSIGN(const std::optional<cost::ModelPreset> preset,
                   preset_of(context.files, options.model, trace));
    std::vector<planning::NamedPlacement> placements;
    for (const planning::SweepPoint& point : points) placements.push_back({algorithm, &point.placement});
    MOESAIC_ASSIGN(time, time_report(sweep.time, preset ? &*preset : nullptr, split->scored(),
                                     split->scored_homes(), placements, place.objective, pool));
  }
  progress_done();
  if (!context.comm.is_root()) return {};
  std::vector<Priced> priced = price(points, trace, resolved);
  if (time) {
    for (std::size_t p = 0; p < priced.size(); ++p) {
      priced[p].dedup_step_ms = step_ms(*time, time->timed.placements[p].dedup);
      priced[p].per_expert_step_ms = step_ms(*time, time->timed.placements[p].per_expert);
    }
  }
  fmt::print("{} on {} nodes x {} GPUs, {}, rule {}; held-out requests\n{}", path, usable.topology.nodes,
             usable.topology.gpus_per_node, algorithm, options.dispatch, table_of(priced).text());
  fmt::print(
      "Limits bind on planning requests, the figures are of others. Replicas: of all layers and GPUs. "
      "Saved:\n"
      "inter-node bytes a token (dedup) against the first row of the same limit, a GiB of replicas.\n");
  if (time) {
    fmt::print("Steps are modelled, not measured (docs/cost.md): {}, {} tokens a GPU.\n", time->hardware,
               time->tokens_per_gpu);
    print_notes(time->said);
  }
  print_notes(resolved.said);
  Json json;
  json["schema"] = "moesaic.plan-sweep/1";
  json["trace"] = path;
  json["algorithm"] = algorithm;
  Json::Array rows;
  for (const Priced& one : priced) {
    Json row = evaluate::to_json(one.point->score, false);
    row["extra_slots"] = one.extra_slots;
    row["slots_per_gpu"] = one.point->slots_per_gpu;
    row["max_imbalance"] = one.point->max_imbalance;
    row["replica_gib"] = one.gib;
    row["inter_node_bytes_per_token_saved_per_gib"] = one.saved_bytes_per_gib;
    if (time) {
      row["dedup_step_ms"] = one.dedup_step_ms;
      row["per_expert_step_ms"] = one.per_expert_step_ms;
    }
    rows.push_back(std::move(row));
  }
  json["points"] = std::move(rows);
  if (time) {
    json["hardware"] = time->hardware;
    json["tokens_per_gpu"] = time->tokens_per_gpu;
  }
  if (!write.html.empty()) {
    MOESAIC_TRY(report::write(page_of(priced, path, trace, resolved, algorithm, time), context.files,
                              write.html, true));
    if (write.json != "-") fmt::print("The page is {}.\n", write.html);
  }
  return write_json(context, write.json, json);
}

}  // namespace moesaic::app
