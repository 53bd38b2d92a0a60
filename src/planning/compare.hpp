// Several algorithms on the same splits and homes: the table people decide by.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "planning/plan_maker.hpp"

namespace moesaic::planning {

struct Comparison {
  std::vector<NamedScore> mean;                   ///< over splits, in the order asked for
  std::vector<std::vector<NamedScore>> by_split;  ///< [splits][algorithms]
};

/// What is compared, and on what.
struct CompareOptions {
  SplitOptions split;
  std::size_t splits = 5;  ///< of seeds split.seed, split.seed + 1, ...
  /// "A@B" is A under the limit that B's placement keeps on the planning tokens: the mean over layers of its
  /// nodes where A shares one, else the larger of its node and GPU max/mean. Oracles, which no plan made
  /// beforehand can be: "A@scored", planned on the scored tokens with their homes; "A@all", on all requests,
  /// those among them. What a plan keeps from them is what it cannot foresee.
  std::vector<std::string> algorithms;
  PlaceOptions place;
  evaluate::ScoreOptions score;
};

/// Told what runs.
using Progress = std::function<void(const std::string&)>;

/// Plans with every algorithm on the train part of each split and scores on its held-out part. Errors: an
/// unknown name. "random" is the mean of five placement seeds a split.
Result<Comparison> compare(const trace::Trace& trace, const CompareOptions& options, ThreadPool& pool,
                           const Progress& progress);

/// Plans made on some domains and scored on others, beside plans made on those others.
struct Across {
  Comparison unseen;  ///< planned on split.domains, homes taught there too; scored on split.scored_domains
  Comparison
      seen;  ///< planned and taught on the train requests of the scored domains; the same requests scored
};

/// As compare(). Where split.scored_domains is empty, every split halves the trace's domains at random (by
/// its seed; the smaller half is planned on) and plans on one half for the other. Errors (bad input): fewer
/// than two domains, or one that is planned and scored.
Result<Across> compare_across(const trace::Trace& trace, const CompareOptions& options, ThreadPool& pool,
                              const Progress& progress);

}  // namespace moesaic::planning
