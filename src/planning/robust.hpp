// A plan for the worst of several parts of the traffic (windows, domains), or for a weighted mean of them.
//
// Planning is a game between the planner, who picks a placement, and traffic, which picks a part. The
// multiplicative-weights method plays it (Freund and Schapire 1999; Arora, Hazan and Kale 2012, section 3.2):
// every round plans on all tokens with the parts weighted, then parts that came out worse than others gain
// weight. The average over rounds is what the method's theorem is about; a plan must be one placement, so the
// round with the best worst part is kept, and what is certain is only that it is no worse than the plain
// plan.
#pragma once

#include <string>
#include <vector>

#include "planning/parts.hpp"
#include "planning/plan_maker.hpp"

namespace moesaic::planning {

enum class RobustGoal {
  kWorst,  ///< the worst part as good as can be
  kMean    ///< the weighted mean of the parts, each counting its weight and not its tokens
};

struct RobustOptions {
  RobustGoal goal = RobustGoal::kWorst;
  std::vector<double> weights = {};  ///< of the parts, > 0; empty = equal. kWorst starts from them
  std::size_t rounds = 8;            ///< plans that kWorst makes
};

/// One placement's scores, by part.
struct PartScores {
  std::vector<evaluate::Score> planned, scored;
};

struct RobustPlan {
  placement::Solution solution;
  std::vector<double> weights;  ///< of the parts in the plan that was kept, sum 1
  std::size_t round = 0;        ///< that was kept, from 1; 0: the plan made without parts
  PartScores plain, robust;     ///< of the plan made without parts, and of this one
};

/// What a part costs the planner: node copies a token-layer in the mode that is optimised, and a copy for
/// every row above the load limit on the fullest node and on the fullest GPU. `limit`: max/mean.
double part_value(const evaluate::Score& score, const Topology& topology, std::size_t top_k, double limit,
                  bool per_expert);

/// Plans once without parts, then `rounds` times (kMean: once). Deterministic. Errors (bad input): weights of
/// another number than the parts, or not above 0; an algorithm that does not weigh tokens.
Result<RobustPlan> robust_plan(const Split& split, const Parts& parts, const PlaceOptions& options,
                               const RobustOptions& robust, const evaluate::ScoreOptions& score,
                               ThreadPool& pool);

}  // namespace moesaic::planning
