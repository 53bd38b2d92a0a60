#include "planning/baselines.hpp"

#include "placement/algorithm.hpp"
#include "planning/demands.hpp"

namespace moesaic::planning {

Result<std::vector<Baseline>> baselines(const ModelShape& shape, const Topology& topology,
                                        std::size_t slots_per_gpu, const std::vector<double>& loads,
                                        std::size_t expert_groups, ThreadPool& pool) {
  struct Wanted {
    const char* name;
    std::uint64_t seeds;
  };
  constexpr Wanted kWanted[] = {{"linear", 1}, {"random", 5}, {"round-robin", 1}, {"eplb", 1}};
  const LoadDemand demand(shape, loads);
  std::vector<Baseline> all;
  for (const Wanted& wanted : kWanted) {
    MOESAIC_ASSIGN(const placement::Algorithm* const algorithm, placement::find_algorithm(wanted.name));
    Baseline baseline{.name = wanted.name, .placements = {}};
    for (std::uint64_t seed = 0; seed < wanted.seeds; ++seed) {
      MOESAIC_ASSIGN(placement::Solution solution, algorithm->place({.demand = demand,
                                                                     .topology = topology,
                                                                     .slots_per_gpu = slots_per_gpu,
                                                                     .objective = {},
                                                                     .seed = seed,
                                                                     .expert_groups = expert_groups,
                                                                     .pool = &pool}));
      baseline.placements.push_back(std::move(solution.placement));
    }
    all.push_back(std::move(baseline));
  }
  return all;
}

}  // namespace moesaic::planning
