// Plans over numbers of slots and imbalance limits, scored on the same held-out requests: what replicas buy.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "planning/plan_maker.hpp"

namespace moesaic::planning {

/// One plan of a sweep; a row of its table.
struct SweepPoint {
  std::size_t slots_per_gpu = 0;
  double max_imbalance = 0;  ///< the limit it was planned under, 0 = the algorithm's own
  Placement placement;
  evaluate::Score score;
};

/// Slots a GPU that give 0, 25, 50 and 100 % of the experts as replicas, rounded up to whole slots on every
/// GPU; equal ones once, ascending.
std::vector<std::size_t> sweep_slots(std::size_t experts, const Topology& topology);

/// Every number of slots under every limit, in that order, with options.algorithm; options.slots_per_gpu and
/// max_imbalance are not used. All are scored in one pass. `progress` is told what runs. Errors: as place().
/// REQUIRES: slots for every expert.
Result<std::vector<SweepPoint>> sweep(const Split& split, std::span<const std::size_t> slots_per_gpu,
                                      std::span<const double> limits, const PlaceOptions& options,
                                      const evaluate::ScoreOptions& score, ThreadPool& pool,
                                      const std::function<void(const std::string&)>& progress);

}  // namespace moesaic::planning
