#include "planning/compare.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "core/random.hpp"
#include "placement/algorithm.hpp"

namespace moesaic::planning {
namespace {

/// "moesaic@metis": an algorithm under the imbalance that another one reaches. "moesaic@scored": planned on
/// the tokens it is scored on, "moesaic@all": on all requests, those among them.
struct Entry {
  std::string algorithm, at;
  decltype(&place) place_it = &place;
  bool oracle() const { return place_it != &place; }
};

Result<Entry> entry_of(const std::string& text) {
  const std::size_t at = text.find('@');
  Entry entry{text.substr(0, at), at == std::string::npos ? "" : text.substr(at + 1)};
  MOESAIC_TRY(placement::find_algorithm(entry.algorithm));
  if (entry.at == "scored") entry.place_it = &place_on_scored;
  if (entry.at == "all") entry.place_it = &place_on_all;
  if (entry.oracle()) entry.at.clear();
  if (!entry.at.empty() && !placement::find_algorithm(entry.at)) {
    return bad_input(
        fmt::format("{}: expected an algorithm after @ (`moesaic algorithms`), or scored or all.", text));
  }
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

/// The peer's imbalance as the entry's limit: the mean over layers of its nodes, where the algorithm shares
/// one over layers; else the larger of its node and GPU figures, in every layer.
Status limit_as(const Split& split, const Placement& peer, const evaluate::ScoreOptions& score,
                PlaceOptions& options, ThreadPool& pool) {
  options.max_imbalance = options.mean_imbalance = 0;
  const ModelShape& shape = split.planned().source().shape();
  if (can_share_imbalance(shape, peer.topology(), options)) {
    MOESAIC_ASSIGN(options.mean_imbalance, unseen_imbalance(split, peer, pool));
  } else {
    MOESAIC_ASSIGN(options.max_imbalance, imbalance_of(split, peer, score, pool));
  }
  return {};
}

Result<std::vector<Entry>> entries_of(const std::vector<std::string>& algorithms) {
  std::vector<Entry> entries;
  for (const std::string& algorithm : algorithms) {
    MOESAIC_ASSIGN(Entry entry, entry_of(algorithm));
    entries.push_back(std::move(entry));
  }
  return entries;
}

/// Every entry's placement of one split, scored; in their order.
Result<std::vector<NamedScore>> compare_on(const Split& split, const std::vector<Entry>& entries,
                                           const CompareOptions& options, ThreadPool& pool,
                                           const Progress& progress) {
  constexpr std::uint64_t kRandomSeeds = 5;
  std::vector<Placement> placements;
  std::vector<std::size_t> count;
  std::map<std::string, Placement, std::less<>> plain;  // of the first seed, without a limit of another's
  const auto options_of = [&](const std::string& algorithm) -> Result<PlaceOptions> {
    MOESAIC_ASSIGN(const placement::Algorithm* const found, placement::find_algorithm(algorithm));
    PlaceOptions one = options.place;
    one.algorithm = algorithm;
    if (!found->shares_imbalance()) one.mean_imbalance = 0;
    return one;
  };
  const auto place_plain = [&](const std::string& algorithm) -> Result<const Placement*> {
    if (const auto found = plain.find(algorithm); found != plain.end()) return &found->second;
    MOESAIC_ASSIGN(const PlaceOptions one, options_of(algorithm));
    MOESAIC_ASSIGN(placement::Solution solution, place(split, one, pool));
    return &plain.emplace(algorithm, std::move(solution.placement)).first->second;
  };
  for (const Entry& entry : entries) {
    progress(entry.algorithm + (entry.oracle() ? ", an oracle" : ""));
    MOESAIC_ASSIGN(PlaceOptions one, options_of(entry.algorithm));
    const std::uint64_t seeds = entry.algorithm == "random" ? kRandomSeeds : 1;
    if (entry.at.empty() && seeds == 1 && !entry.oracle()) {
      MOESAIC_ASSIGN(const Placement* const placed, place_plain(entry.algorithm));
      placements.push_back(*placed);
      count.push_back(1);
      continue;
    }
    if (!entry.at.empty()) {
      MOESAIC_ASSIGN(const Placement* const peer, place_plain(entry.at));
      MOESAIC_TRY(limit_as(split, *peer, options.score, one, pool));
    }
    for (std::uint64_t seed = 0; seed < seeds; ++seed) {
      one.seed = options.place.seed + seed;
      MOESAIC_ASSIGN(placement::Solution solution, entry.place_it(split, one, pool));
      placements.push_back(std::move(solution.placement));
    }
    count.push_back(seeds);
  }
  progress(fmt::format("scoring {} placements", placements.size()));
  std::vector<NamedPlacement> named;
  for (const Placement& placement : placements) named.push_back({"", &placement});
  MOESAIC_ASSIGN(const std::vector<NamedScore> scores,
                 score_split(split, named, false, options.place, options.score, pool));
  std::vector<NamedScore> of_split;
  std::size_t next = 0;
  for (std::size_t a = 0; a < entries.size(); ++a) {
    std::vector<evaluate::Score> seeds;
    for (std::size_t i = 0; i < count[a]; ++i) seeds.push_back(scores[next++].score);
    of_split.push_back({options.algorithms[a], evaluate::mean(seeds)});
  }
  return of_split;
}

/// The mean over the splits there are.
void take_mean(const std::vector<std::string>& algorithms, Comparison& comparison) {
  for (std::size_t a = 0; a < algorithms.size(); ++a) {
    std::vector<evaluate::Score> scores;
    for (const auto& of_split : comparison.by_split) scores.push_back(of_split[a].score);
    comparison.mean.push_back({algorithms[a], evaluate::mean(scores)});
  }
}

/// The domains of a split and those it is scored on.
struct Halves {
  std::vector<std::uint16_t> planned, scored;
};

Result<Halves> halves_of(const trace::Trace& trace, const SplitOptions& options, std::uint64_t seed) {
  if (!options.scored_domains.empty()) {
    for (const std::uint16_t code : options.scored_domains) {
      if (!options.domains.empty() && std::ranges::find(options.domains, code) == options.domains.end())
        continue;
      return bad_input(fmt::format("--score-domains: {} is planned on as well; name the others in --domains.",
                                   trace.requests().domains[code]));
    }
    return Halves{.planned = options.domains, .scored = options.scored_domains};
  }
  const std::vector<std::uint16_t>& all = trace.requests().domain;
  std::vector<std::uint16_t> codes(all.begin(), all.end());
  std::ranges::sort(codes);
  codes.erase(std::ranges::unique(codes).begin(), codes.end());
  if (codes.size() < 2) {
    return bad_input(
        fmt::format("--across: {} holds requests of {} domain, expected two or more; import with "
                    "--domain-key, or one --domain a source.",
                    trace.path(), codes.size()));
  }
  Pcg32 random(seed, 11);
  shuffle(std::span(codes), random);
  const auto middle = codes.begin() + static_cast<std::ptrdiff_t>(codes.size() / 2);
  return Halves{.planned = {codes.begin(), middle}, .scored = {middle, codes.end()}};
}

}  // namespace

Result<Comparison> compare(const trace::Trace& trace, const CompareOptions& options, ThreadPool& pool,
                           const Progress& progress) {
  MOESAIC_ASSIGN(const std::vector<Entry> entries, entries_of(options.algorithms));
  Comparison comparison;
  for (std::size_t s = 0; s < options.splits; ++s) {
    const auto of_split = [&](const std::string& what) {
      progress(fmt::format("split {} of {}: {}", s + 1, options.splits, what));
    };
    of_split("homes");
    SplitOptions seeded = options.split;
    seeded.seed += s;
    MOESAIC_ASSIGN(const Split split, Split::make(trace, seeded, pool));
    MOESAIC_ASSIGN(std::vector<NamedScore> scores, compare_on(split, entries, options, pool, of_split));
    comparison.by_split.push_back(std::move(scores));
  }
  take_mean(options.algorithms, comparison);
  return comparison;
}

Result<Across> compare_across(const trace::Trace& trace, const CompareOptions& options, ThreadPool& pool,
                              const Progress& progress) {
  MOESAIC_ASSIGN(const std::vector<Entry> entries, entries_of(options.algorithms));
  Across across;
  for (std::size_t s = 0; s < options.splits; ++s) {
    SplitOptions far = options.split;
    far.seed += s;
    MOESAIC_ASSIGN(Halves halves, halves_of(trace, far, far.seed));
    far.domains = std::move(halves.planned);
    far.scored_domains = std::move(halves.scored);
    SplitOptions near = far;
    near.domains = far.scored_domains;
    for (const bool seen : {false, true}) {
      const auto of_split = [&](const std::string& what) {
        progress(fmt::format("split {} of {}, planned on {} domains: {}", s + 1, options.splits,
                             seen ? "the scored" : "other", what));
      };
      of_split("homes");
      MOESAIC_ASSIGN(const Split split, Split::make(trace, seen ? near : far, pool));
      MOESAIC_ASSIGN(std::vector<NamedScore> scores, compare_on(split, entries, options, pool, of_split));
      (seen ? across.seen : across.unseen).by_split.push_back(std::move(scores));
    }
  }
  take_mean(options.algorithms, across.unseen);
  take_mean(options.algorithms, across.seen);
  return across;
}

}  // namespace moesaic::planning
