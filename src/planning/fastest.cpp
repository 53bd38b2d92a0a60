#include "planning/fastest.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "evaluate/step_times.hpp"

namespace moesaic::planning {
namespace {

/// Load limits that candidates are planned under, tight to loose.
constexpr double kLimits[] = {1.02, 1.05, 1.08, 1.15, 1.3, 1.5};

std::vector<double> limits_under(double most) {
  std::vector<double> limits;
  for (const double limit : kLimits) {
    if (most == 0 || limit < most) limits.push_back(limit);
  }
  if (most > 0) limits.push_back(most);
  return limits;
}

}  // namespace

Result<Fastest> place_fastest(const Split& split, const PlaceOptions& options, const FastestOptions& fastest,
                              ThreadPool& pool) {
  if (options.algorithm != "moesaic") {
    return bad_input(
        fmt::format("--optimize time: chooses among plans of moesaic; --algorithm {} has but one plan, and "
                    "`evaluate --time` times it.",
                    options.algorithm));
  }
  std::vector<Candidate> candidates;
  std::vector<Placement> placements;
  const auto add = [&](const PlaceOptions& one, std::string name) -> Status {
    MOESAIC_ASSIGN(placement::Solution solution, place(split, one, pool));
    candidates.push_back({.name = std::move(name)});
    placements.push_back(std::move(solution.placement));
    return {};
  };
  for (const bool per_expert : {fastest.per_expert, !fastest.per_expert}) {
    for (const double limit : limits_under(options.max_imbalance)) {
      PlaceOptions one = options;
      one.per_expert = per_expert;
      one.max_imbalance = limit;
      MOESAIC_TRY(
          add(one, fmt::format("{}, limit {}", per_expert ? "copies a row" : "copies a node", limit)));
    }
  }
  if (options.pins.empty() && options.max_imbalance == 0) {
    PlaceOptions one = options;
    one.per_expert = fastest.per_expert;
    MOESAIC_TRY(add(one, "the plan without a limit"));
    one.algorithm = "eplb";
    MOESAIC_TRY(add(one, "eplb"));
  }
  std::vector<const Placement*> timed;
  for (const Placement& placement : placements) timed.push_back(&placement);
  MOESAIC_ASSIGN(
      const evaluate::TimedSteps times,
      evaluate::time_placements(
          split.planned(), split.planned_homes(), timed,
          {.objective = options.objective, .tokens_per_gpu = fastest.tokens_per_gpu, .costs = fastest.costs},
          pool));
  const auto time_of = [&](const evaluate::StepTimes& one) {
    return (fastest.per_expert ? one.per_expert : one.dedup).sum.total();
  };
  std::vector<ExpertId> slots;
  Nanoseconds total{0};
  for (std::size_t row = 0; row < times.layers.size(); ++row) {
    std::size_t best = 0;
    for (std::size_t c = 0; c < candidates.size(); ++c) {
      const Nanoseconds time = time_of(times.layers[row][c]);
      candidates[c].time += time;
      if (time < time_of(times.layers[row][best])) best = c;
    }
    ++candidates[best].layers;
    total += time_of(times.layers[row][best]);
    const auto layer = placements[best].layer(row);
    slots.insert(slots.end(), layer.begin(), layer.end());
  }
  MOESAIC_ASSIGN(Placement chosen,
                 Placement::make(placements[0].topology(), placements[0].layers(), placements[0].experts(),
                                 options.slots_per_gpu, std::move(slots)));
  Fastest result{.solution = {.placement = std::move(chosen), .notes = {}},
                 .candidates = std::move(candidates),
                 .time = total,
                 .steps = times.steps};
  return result;
}

}  // namespace moesaic::planning
