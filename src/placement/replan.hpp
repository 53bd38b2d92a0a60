// From a running placement towards a better one within a budget of moved experts.
//
// The difference of two placements is cut into chains: an expert leaves a GPU for the next, whose own
// leaves for the one after, until the chain closes, or begins with a new copy and ends with a dropped one.
// Any subset of chains, in any order, leaves every expert its copies (a net change of an expert's copies has
// one sign). Besides chains there are swaps that bring one expert where it belongs for any other of that GPU.
// The step that gains most a move by the exact objective goes first, prices being renewed only where they
// lead (lazy greedy, Minoux 1978); when none gains any more, chains complete the way. Layers are then merged
// by the slope of their gain curves.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "placement/algorithm.hpp"
#include "placement/transfers.hpp"

namespace moesaic::placement {

/// One slot of a GPU takes `in` for `out`: one expert's weights are moved there.
struct Change {
  std::size_t gpu = 0;
  ExpertId out{}, in{};

  auto operator<=>(const Change&) const = default;
};
using Chain = std::vector<Change>;

/// Chains whose carrying out turns the layer `from` into `to`, slot order inside GPUs aside; shortest cycles
/// first. Together they hold one change for every slot that transfers() counts. Sizes are equal and divide
/// over `gpus`. O(chains x (GPUs + changes)).
std::vector<Chain> chains(std::span<const ExpertId> from, std::span<const ExpertId> to, std::size_t gpus);

/// What was reached with so many moves.
struct ReplanPoint {
  std::size_t moves = 0;
  /// Share of what going all the way gains on the planning tokens: node copies and, at a tenth, GPU copies,
  /// load above the limit counted as copies. 1 at the end if the goal is no worse than where it began.
  double gain = 0;
};

struct Replan {
  Placement placement;
  std::size_t moves = 0;           ///< made
  std::size_t moves_to_goal = 0;   ///< that all gain needs
  std::vector<ReplanPoint> curve;  ///< from no moves to all, ascending
};

/// Best found within `max_moves`, starting at problem.from. Load above problem.max_imbalance, or the default
/// of `moesaic`, costs a copy a row, so a change also repairs balance. Layers in parallel on the problem's
/// pool. Errors as running_placement(). REQUIRES: problem.from, tokens; goal of the same topology, layers,
/// slots. A layer costs about 1.5 x (8 x experts that move) scorings of at most 200,000 rows, together at
/// most 40 million rows at first; requests are left out evenly to keep that. 24 layers of 32 experts and
/// 200,000 rows each: 20 s of one core.
Result<Replan> replan(const Problem& problem, const Placement& goal, std::size_t max_moves);

}  // namespace moesaic::placement
