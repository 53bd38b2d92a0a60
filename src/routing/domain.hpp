// `domain`: requests of one label go to the workers of that label. The baseline that is told what the
// others must find out (ELDR's "Domain", arXiv:2607.00466 section 6): an oracle, not for production.
#pragma once

#include <memory>
#include <vector>

#include "routing/policy.hpp"

namespace moesaic::routing {

struct DomainOptions {
  /// [domains] expected share of the traffic of each label; need not sum to 1. Empty: every request is
  /// placed by load.
  std::vector<double> shares{};
};

/// The workers that are up stand on a line of that length and every domain gets a stretch of it in
/// proportion to its share; a request goes to the least loaded of the workers that its stretch touches.
/// Requests without a label, or with one beyond `shares`, go to the least loaded of all.
std::unique_ptr<DecodePolicy> make_domain(const DomainOptions& options);

}  // namespace moesaic::routing
