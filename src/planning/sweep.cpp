#include "planning/sweep.hpp"

#include <fmt/format.h>

namespace moesaic::planning {

std::vector<std::size_t> sweep_slots(std::size_t experts, const Topology& topology) {
  std::vector<std::size_t> all;
  for (const std::size_t percent : {0u, 25u, 50u, 100u}) {
    const std::size_t wanted = experts + (experts * percent + 99) / 100;
    const std::size_t slots = (wanted + topology.gpus() - 1) / topology.gpus();
    if (all.empty() || all.back() != slots) all.push_back(slots);
  }
  return all;
}

Result<std::vector<SweepPoint>> sweep(const Split& split, std::span<const std::size_t> slots_per_gpu,
                                      std::span<const double> limits, const PlaceOptions& options,
                                      const evaluate::ScoreOptions& score, ThreadPool& pool,
                                      const std::function<void(const std::string&)>& progress) {
  std::vector<SweepPoint> points;
  for (const std::size_t slots : slots_per_gpu) {
    for (const double limit : limits) {
      progress(fmt::format("{} slots a GPU, imbalance limit {}: plan {} of {}", slots, limit,
                           points.size() + 1, slots_per_gpu.size() * limits.size()));
      PlaceOptions one = options;
      one.slots_per_gpu = slots;
      one.max_imbalance = limit;
      MOESAIC_ASSIGN(placement::Solution solution, place(split, one, pool));
      points.push_back({.slots_per_gpu = slots,
                        .max_imbalance = limit,
                        .placement = std::move(solution.placement),
                        .score = {}});
    }
  }
  progress(fmt::format("scoring {} plans", points.size()));
  std::vector<NamedPlacement> named;
  for (const SweepPoint& point : points) named.push_back({options.algorithm, &point.placement});
  MOESAIC_ASSIGN(std::vector<NamedScore> scores, score_split(split, named, false, options, score, pool));
  for (std::size_t p = 0; p < points.size(); ++p) points[p].score = std::move(scores[p].score);
  return points;
}

}  // namespace moesaic::planning
