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

/// Plans with every algorithm on the train part of each split seed 0 .. splits-1 (+ options.seed) and scores
/// on its held-out part. "A@B" is A under the limit that B's placement keeps on the planning tokens (the
/// larger of its node and GPU max/mean, means over layers). Errors: an unknown name. "random" is the mean of
/// five placement seeds a split. `progress` is told what runs.
Result<Comparison> compare(const trace::Trace& trace, const SplitOptions& split, std::size_t splits,
                           const std::vector<std::string>& algorithms, const PlaceOptions& options,
                           const evaluate::ScoreOptions& score, ThreadPool& pool,
                           const std::function<void(const std::string&)>& progress);

}  // namespace moesaic::planning
