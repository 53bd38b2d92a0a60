#include "evaluate/step_times.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/check.hpp"
#include "traffic/flows.hpp"

namespace moesaic::evaluate {
namespace {

/// One layer's steps, each GPUs wide, added up.
ModeTime sum_of(std::span<const cost::GpuWork> work, std::size_t gpus, const cost::LayerCosts& costs) {
  ModeTime time;
  for (std::size_t at = 0; at < work.size(); at += gpus) {
    time.sum += cost::layer_time(work.subspan(at, gpus), costs);
    time.balanced += cost::balanced_layer_time(work.subspan(at, gpus), costs).total();
  }
  return time;
}

void add(ModeTime& to, const ModeTime& more) {
  to.sum += more.sum;
  to.balanced += more.balanced;
}

}  // namespace

Result<TimedSteps> time_placements(const SelectedTokens& tokens, const Homes& homes,
                                   std::span<const Placement* const> placements, const TimeOptions& options,
                                   ThreadPool& pool) {
  MOESAIC_CHECK(!placements.empty() && options.tokens_per_gpu > 0);
  MOESAIC_CHECK(homes.attention == options.objective.attention);
  const ModelShape& shape = tokens.source().shape();
  const Topology& topology = placements[0]->topology();
  for (const Placement* placement : placements) {
    MOESAIC_CHECK(placement->layers() == shape.layers && placement->experts() == shape.experts);
    MOESAIC_CHECK(placement->topology() == topology);
  }
  const std::size_t home_count = topology.homes(homes.attention);
  const std::vector<traffic::Segment> segments = tokens.segments(homes.of_request);
  const traffic::Steps steps =
      traffic::make_even_steps(segments, home_count, options.tokens_per_gpu * topology.gpus());
  if (steps.count == 0) {
    return bad_input(fmt::format(
        "{}: a step of {} tokens a GPU cannot be filled, there are {} scored tokens a GPU; give --batch at "
        "most "
        "that, or score more requests (--requests all).",
        tokens.source().path(), options.tokens_per_gpu, tokens.scored_tokens() / topology.gpus()));
  }
  TimedSteps timed{.steps = steps.count,
                   .tokens = steps.of_token.size() -
                             static_cast<std::size_t>(std::ranges::count(steps.of_token, traffic::kNoStep)),
                   .requests_per_home = segments.size() / home_count,
                   .placements = std::vector<StepTimes>(placements.size()),
                   .layers = {}};
  std::vector<std::vector<StepTimes>> by_layer(shape.layers.size(),
                                               std::vector<StepTimes>(placements.size()));
  MOESAIC_TRY(pool.try_parallel_for(shape.layers.size(), [&](std::size_t row) -> Status {
    MOESAIC_ASSIGN(const std::vector<ExpertId> experts, tokens.read_layer(row));
    const traffic::LayerTokens layer{shape.layers[row], shape.top_k, experts, segments};
    for (std::size_t p = 0; p < placements.size(); ++p) {
      const traffic::StepFlows flows = traffic::step_flows(
          layer, topology, shape.experts, placements[p]->layer(row), options.objective, steps);
      by_layer[row][p] = {.dedup = sum_of(flows.dedup, topology.gpus(), options.costs),
                          .per_expert = sum_of(flows.per_expert, topology.gpus(), options.costs)};
    }
    return {};
  }));
  for (const std::vector<StepTimes>& layer : by_layer) {
    for (std::size_t p = 0; p < placements.size(); ++p) {
      add(timed.placements[p].dedup, layer[p].dedup);
      add(timed.placements[p].per_expert, layer[p].per_expert);
    }
  }
  timed.layers = std::move(by_layer);
  return timed;
}

}  // namespace moesaic::evaluate
