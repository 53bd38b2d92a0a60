#include "plan_change.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <limits>
#include <vector>

#include "core/random.hpp"
#include "score_table.hpp"

namespace moesaic::app {
namespace {

/// Experts that --max-moves or --max-bytes lets move; none = no bound.
Result<std::optional<std::size_t>> budget(const ChangeOptions& options, double expert_bytes) {
  if (!options.max_bytes) return options.max_moves;
  if (expert_bytes <= 0) {
    return bad_input("--max-bytes: the size of an expert is not known; give --model, or --max-moves.");
  }
  return static_cast<std::size_t>(*options.max_bytes / expert_bytes);
}

/// Inter-node bytes a token that the change saves on what was scored; NaN where bytes are not known.
double saved_bytes(const Change& change, bool per_expert) {
  const auto bytes = [&](const planning::NamedScore& s) {
    return (per_expert ? s.score.per_expert : s.score.dedup).inter_node_bytes_per_token;
  };
  return bytes(change.before) - bytes(change.after);
}

}  // namespace

void ChangeOptions::add(CLI::App& command) {
  command.add_option("--from", from,
                     "Change this running plan: its homes stay, experts move within the budget");
  command.add_option("--max-moves", max_moves, "With --from: most experts to move, over all layers");
  command.add_option("--max-bytes", max_bytes, "With --from: most bytes of expert weights to move");
}

Status ChangeOptions::check() const {
  if (from.empty() && (max_moves || max_bytes)) {
    return bad_input(
        "--max-moves, --max-bytes: bound what a change of a running plan moves; give it by --from.");
  }
  if (max_moves && max_bytes) return bad_input("--max-moves and --max-bytes: give one of them.");
  return {};
}

Result<ChangedPlan> change_plan(Context& context, const ChangeOptions& options, Resolved& resolved,
                                const trace::Trace& trace, const planning::PlaceOptions& place,
                                const evaluate::ScoreOptions& score, ThreadPool& pool) {
  const auto read = artifact::read_plan(context.files, options.from);
  MOESAIC_TRY(comm::agree(context.comm, read));
  const artifact::Plan& running = *read;
  // Ranks that change different plans would make different ones.
  MOESAIC_TRY(comm::same_everywhere(context.comm, std::to_string(hash_bytes(artifact::to_json(running))),
                                    "running plan (--from)"));
  if (!running.assigner) {
    return bad_input(
        fmt::format("{}: was planned from counts and has no homes for requests to keep; make a new "
                    "plan without --from.",
                    options.from));
  }
  resolved.split.assigner = &*running.assigner;
  resolved.split.attention = running.attention;
  planning::PlaceOptions told = place;
  told.objective.attention = running.attention;
  if (running.placement.topology() != resolved.split.topology ||
      running.placement.slots_per_gpu() != place.slots_per_gpu) {
    const Topology& topology = running.placement.topology();
    return bad_input(
        fmt::format("--from {}: is for --nodes {} --gpus-per-node {} --slots-per-gpu {}; a plan that "
                    "is changed keeps them.",
                    options.from, topology.nodes, topology.gpus_per_node, running.placement.slots_per_gpu()));
  }
  progress("finding homes with the running plan's assigner");
  const auto made = planning::Split::make(trace, resolved.split, pool);
  MOESAIC_TRY(comm::agree(context.comm, made));
  const planning::Split& split = *made;
  const std::size_t slots = running.placement.all_slots().size();
  MOESAIC_ASSIGN(const std::optional<std::size_t> moves, budget(options, resolved.expert_bytes));
  progress("changing the running placement");
  MOESAIC_ASSIGN(planning::Changed changed, planning::change(split, told, running.placement, moves, pool));
  evaluate::ScoreOptions scored = score;
  scored.objective = told.objective;
  const planning::NamedPlacement both[] = {{"(running)", &running.placement},
                                           {"(changed)", &changed.solution.placement}};
  MOESAIC_ASSIGN(const auto scores, planning::score_split(split, both, false, told, scored, pool));
  std::vector<planning::NamedScore> all;
  MOESAIC_ASSIGN(artifact::Plan plan, planning::plan_with(split, changed.solution, told, scored, pool, &all));
  plan.algorithm.options["from"] = std::filesystem::path(options.from).filename().string();
  plan.algorithm.options["moves"] = changed.transfers.slots;
  return ChangedPlan{.plan = std::move(plan),
                     .change = {.changed = std::move(changed),
                                .expert_bytes = resolved.expert_bytes,
                                .slots = slots,
                                .before = scores[0],
                                .after = scores[1]},
                     .scores = std::move(all)};
}

Json change_json(const Change& change, bool per_expert) {
  const placement::Transfers& moved = change.changed.transfers;
  Json json = Json::Object{};
  json["moves"] = moved.slots;
  json["moves_inter_node"] = moved.inter_node;
  json["moves_to_goal"] = change.changed.moves_to_goal;
  json["slots"] = change.slots;
  constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();
  const double expert_bytes = change.expert_bytes > 0 ? change.expert_bytes : kUnknown;
  json["bytes"] = expert_bytes * static_cast<double>(moved.slots);
  json["bytes_inter_node"] = expert_bytes * static_cast<double>(moved.inter_node);
  json["pay_back_tokens"] =
      expert_bytes * static_cast<double>(moved.inter_node) / saved_bytes(change, per_expert);
  json["before"] = evaluate::to_json(change.before.score, false);
  json["after"] = evaluate::to_json(change.after.score, false);
  Json::Array curve;
  for (const placement::ReplanPoint& point : change.changed.curve) {
    Json one = Json::Object{};
    one["moves"] = point.moves;
    one["gain"] = point.gain;
    curve.push_back(std::move(one));
  }
  json["curve"] = std::move(curve);
  return json;
}

void print_change(const Change& change, bool per_expert) {
  const placement::Transfers& moved = change.changed.transfers;
  const auto share = [&](std::size_t moves) {
    return 100.0 * static_cast<double>(moves) / static_cast<double>(change.slots);
  };
  fmt::print("Against the running plan, same requests and homes:\n{}",
             score_table(std::vector{change.before, change.after}));
  fmt::print("{} experts move ({:.1f} % of the slots), {} of them to a node that has no copy", moved.slots,
             share(moved.slots), moved.inter_node);
  if (change.expert_bytes > 0) {
    fmt::print(": {:.2f} GiB, {:.2f} between nodes",
               static_cast<double>(moved.slots) * change.expert_bytes / 0x1p30,
               static_cast<double>(moved.inter_node) * change.expert_bytes / 0x1p30);
  }
  fmt::print(".\n");
  const double saved = saved_bytes(change, per_expert);
  if (saved > 0 && change.expert_bytes > 0) {
    fmt::print("The bytes moved between nodes are saved again after {:.0f} tokens.\n",
               static_cast<double>(moved.inter_node) * change.expert_bytes / saved);
  } else if (saved <= 0) {
    fmt::print("It sends no fewer bytes between nodes than the running plan: what it buys is balance.\n");
  }
  std::vector<std::string> points;
  for (const double at : {1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 50.0}) {
    double gain = 0;
    for (const placement::ReplanPoint& point : change.changed.curve) {
      if (share(point.moves) <= at) gain = point.gain;
    }
    points.push_back(fmt::format("{:.0f} %: {:.2f}", at, gain));
  }
  fmt::print("Gain on planning tokens by slots moved (all at {:.0f} %):\n  {}\n",
             share(change.changed.moves_to_goal), fmt::join(points, ", "));
}

}  // namespace moesaic::app
