#include "plan_sweep.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <optional>

#include "planning/sweep.hpp"
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

std::string table_of(const std::vector<Priced>& points) {
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
  return table.text();
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
                 const std::string& algorithm, const std::string& path, const std::string& json_path) {
  if (options.slots_per_gpu || options.extra_slots || options.memory_gib || options.max_imbalance > 0) {
    return bad_input(
        "--sweep: tries its own slots and limits; give --sweep-slots and --sweep-imbalance instead of "
        "--slots-per-gpu, --extra-slots, --memory-gib and --max-imbalance.");
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
  fitting.slots_per_gpu = planning::sweep_slots(
      trace.shape().experts, {.nodes = options.nodes, .gpus_per_node = options.gpus_per_node})[0];
  MOESAIC_ASSIGN(const Resolved resolved, resolve(fitting, trace, pool));
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
    MOESAIC_ASSIGN(const cost::ModelPreset* const preset, preset_of(options.model, trace));
    std::vector<planning::NamedPlacement> placements;
    for (const planning::SweepPoint& point : points) placements.push_back({algorithm, &point.placement});
    MOESAIC_ASSIGN(time, time_report(sweep.time, preset, split->scored(), split->scored_homes(), placements,
                                     place.objective, pool));
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
  fmt::print("{} on {} nodes x {} GPUs, {}, rule {}; held-out requests\n{}", path, options.nodes,
             options.gpus_per_node, algorithm, options.dispatch, table_of(priced));
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
  return write_json(context, json_path, json);
}

}  // namespace moesaic::app
