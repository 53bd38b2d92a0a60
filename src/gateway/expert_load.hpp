// What the places' batches activate, under policies that do not keep that themselves (DecodePolicy::
// keeps_experts): the distinct experts that a decode
// step is expected to read at each place, and of every placement how much of it was shared. Experts are
// chosen independently given a request's predicted probabilities, as in routing/usage_sum.hpp.
// Not thread-safe: one owner.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "routing/policy.hpp"
#include "routing/usage_sum.hpp"
#include "signature/prediction.hpp"

namespace moesaic::gateway {

class ExpertLoad {
 public:
  /// REQUIRES: a valid predictor.
  explicit ExpertLoad(signature::Predictor predictor);

  void up(routing::WorkerId place);
  void down(routing::WorkerId place);
  /// Counts the request there from now on; one that is known moves. Nothing without usage: it then counts
  /// as the predictor's mean. O(places L E); keeps 2 bytes x L x E a request.
  std::optional<routing::Locality> placed(const routing::Request& request, routing::WorkerId place);
  void finished(routing::RequestId request);

  /// Foretells requests that come from now on. Ignored when it is of another size.
  void learnt(const signature::Predictor& predictor);

  /// Expected distinct experts of a step there, summed over layers; 0 for an idle or unknown place.
  double expected(routing::WorkerId place) const;

 private:
  struct Place {
    explicit Place(std::size_t cells);
    routing::UsageSum usage;
    std::size_t requests = 0;
    bool up = false;
  };
  struct Placed {
    routing::WorkerId place;
    std::vector<routing::Survival> usage;
  };
  Place& at(routing::WorkerId place);

  signature::Predictor predictor_;
  signature::PredictionScratch scratch_;
  std::vector<float> candidate_;
  std::map<routing::WorkerId, Place> places_;
  std::unordered_map<routing::RequestId, Placed> requests_;
};

}  // namespace moesaic::gateway
