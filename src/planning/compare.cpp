#include "planning/compare.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>

#include "placement/algorithm.hpp"

namespace moesaic::planning {
namespace {

/// "moesaic@metis": an algorithm under the imbalance that another one reaches.
struct Entry {
  std::string algorithm, at;
};

Result<Entry> entry_of(const std::string& text) {
  const std::size_t at = text.find('@');
  Entry entry{text.substr(0, at), at == std::string::npos ? "" : text.substr(at + 1)};
  MOESAIC_TRY(placement::find_algorithm(entry.algorithm));
  if (!entry.at.empty()) MOESAIC_TRY(placement::find_algorithm(entry.at));
  return entry;
}

/// The larger of the node and GPU figures on the planning tokens, mean over layers.
Result<double> imbalance_of(const Split& split, const Placement& placement,
                            const evaluate::ScoreOptions& score, ThreadPool& pool) {
  const Placement* const one[] = {&placement};
  MOESAIC_ASSIGN(const auto scores,
                 evaluate::score_placements(split.planned(), split.planned_homes(), one, score, pool));
  return std::max(scores[0].node_max_over_mean, scores[0].gpu_max_over_mean);
}

}  // namespace

Result<Comparison> compare(const trace::Trace& trace, const SplitOptions& split_options, std::size_t splits,
                           const std::vector<std::string>& algorithms, const PlaceOptions& options,
                           const evaluate::ScoreOptions& score, ThreadPool& pool,
                           const std::function<void(const std::string&)>& progress) {
  constexpr std::uint64_t kRandomSeeds = 5;
  std::vector<Entry> entries;
  for (const std::string& algorithm : algorithms) {
    MOESAIC_ASSIGN(Entry entry, entry_of(algorithm));
    entries.push_back(std::move(entry));
  }
  Comparison comparison;
  for (std::size_t s = 0; s < splits; ++s) {
    progress(fmt::format("split {} of {}: homes", s + 1, splits));
    SplitOptions seeded = split_options;
    seeded.seed = split_options.seed + s;
    MOESAIC_ASSIGN(const Split split, Split::make(trace, seeded, pool));
    std::vector<Placement> placements;
    std::vector<std::size_t> count;
    std::map<std::string, Placement, std::less<>> plain;  // of the first seed, without a limit of another's
    const auto place_plain = [&](const std::string& algorithm) -> Result<const Placement*> {
      if (const auto found = plain.find(algorithm); found != plain.end()) return &found->second;
      PlaceOptions one = options;
      one.algorithm = algorithm;
      MOESAIC_ASSIGN(placement::Solution solution, place(split, one, pool));
      return &plain.emplace(algorithm, std::move(solution.placement)).first->second;
    };
    for (const Entry& entry : entries) {
      progress(fmt::format("split {} of {}: {}", s + 1, splits, entry.algorithm));
      PlaceOptions one = options;
      one.algorithm = entry.algorithm;
      const std::uint64_t seeds = entry.algorithm == "random" ? kRandomSeeds : 1;
      if (entry.at.empty() && seeds == 1) {
        MOESAIC_ASSIGN(const Placement* const placed, place_plain(entry.algorithm));
        placements.push_back(*placed);
        count.push_back(1);
        continue;
      }
      if (!entry.at.empty()) {
        MOESAIC_ASSIGN(const Placement* const peer, place_plain(entry.at));
        MOESAIC_ASSIGN(one.max_imbalance, imbalance_of(split, *peer, score, pool));
      }
      for (std::uint64_t seed = 0; seed < seeds; ++seed) {
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
