// The plan with the least modelled time of a layer (`--optimize time`). Time is the slowest GPU of every
// exchange and of the experts, step by step (cost/layer_time.hpp): it has no gains that a search could keep
// in tables. So plans that trade copies for balance are made, each layer is timed under all of them, and each
// layer takes the placement that is fastest there: exact over the candidates, a heuristic over all
// placements.
#pragma once

#include <string>
#include <vector>

#include "cost/layer_time.hpp"
#include "planning/plan_maker.hpp"

namespace moesaic::planning {

struct FastestOptions {
  cost::LayerCosts costs;
  std::size_t tokens_per_gpu = 256;  ///< in a step, mean
  bool per_expert = false;           ///< time low-latency kernels, a copy a row; else a copy a node
};

/// How often layers took it, and what all layers would take under it.
struct Candidate {
  std::string name;  ///< for people: what was minimised, under which limit
  std::size_t layers = 0;
  Nanoseconds time{0};  ///< of all layers and steps of the planning tokens
};

struct Fastest {
  placement::Solution solution;
  std::vector<Candidate> candidates;
  Nanoseconds time{0};  ///< of the solution, as a candidate's
  std::size_t steps = 0;
};

/// Candidates of `moesaic`: both copy objectives under limits from 1.02 to 1.5, none above
/// options.max_imbalance where that is given (which is a candidate itself). Where nothing is pinned and no
/// limit given, also the plan that `moesaic` makes then, and `eplb`. Ties go to the first. Deterministic.
/// Errors: as place() and time_placements(); another algorithm than moesaic. Cost: as many plans as
/// candidates, and their timing.
Result<Fastest> place_fastest(const Split& split, const PlaceOptions& options, const FastestOptions& fastest,
                              ThreadPool& pool);

}  // namespace moesaic::planning
