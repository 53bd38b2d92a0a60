#include "planning/compare.hpp"

#include <fmt/format.h>

namespace moesaic::planning {

Result<Comparison> compare(const trace::Trace& trace, const SplitOptions& split_options, std::size_t splits,
                           const std::vector<std::string>& algorithms, const PlaceOptions& options,
                           const evaluate::ScoreOptions& score, ThreadPool& pool,
                           const std::function<void(const std::string&)>& progress) {
  constexpr std::uint64_t kRandomSeeds = 5;
  Comparison comparison;
  for (std::size_t s = 0; s < splits; ++s) {
    progress(fmt::format("split {} of {}: homes", s + 1, splits));
    SplitOptions seeded = split_options;
    seeded.seed = split_options.seed + s;
    MOESAIC_ASSIGN(const Split split, Split::make(trace, seeded, pool));
    std::vector<Placement> placements;
    std::vector<std::size_t> count;
    for (const std::string& algorithm : algorithms) {
      progress(fmt::format("split {} of {}: {}", s + 1, splits, algorithm));
      const std::uint64_t seeds = algorithm == "random" ? kRandomSeeds : 1;
      for (std::uint64_t seed = 0; seed < seeds; ++seed) {
        PlaceOptions one = options;
        one.algorithm = algorithm;
        one.seed = options.seed + seed;
        MOESAIC_ASSIGN(placement::Solution solution, place(split, one, pool));
        placements.push_back(std::move(solution.placement));
      }
      count.push_back(seeds);
    }
    progress(fmt::format("split {} of {}: scoring {} placements", s + 1, splits, placements.size()));
    std::vector<NamedPlacement> named;
    for (const Placement& placement : placements) named.push_back({"", &placement});
    MOESAIC_ASSIGN(const std::vector<NamedScore> scores,
                   score_split(split, named, false, options, score, pool));
    std::vector<NamedScore> of_split;
    std::size_t next = 0;
    for (std::size_t a = 0; a < algorithms.size(); ++a) {
      std::vector<evaluate::Score> seeds;
      for (std::size_t i = 0; i < count[a]; ++i) seeds.push_back(scores[next++].score);
      of_split.push_back({algorithms[a], evaluate::mean(seeds)});
    }
    comparison.by_split.push_back(std::move(of_split));
  }
  for (std::size_t a = 0; a < algorithms.size(); ++a) {
    std::vector<evaluate::Score> scores;
    for (const auto& of_split : comparison.by_split) scores.push_back(of_split[a].score);
    comparison.mean.push_back({algorithms[a], evaluate::mean(scores)});
  }
  return comparison;
}

}  // namespace moesaic::planning
