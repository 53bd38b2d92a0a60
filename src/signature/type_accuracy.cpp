#include "signature/type_accuracy.hpp"

#include "signature/assigner.hpp"

namespace moesaic::signature {

double type_accuracy(const Space& space, const LabelledCounts& known, const LabelledCounts& unseen,
                     std::size_t labels) {
  const Assigner assigner{.space = space,
                          .prototypes = mean_prototypes(signatures(space, known.counts), known.label, labels),
                          .capacities = equal_shares(labels)};
  const std::vector<double> cosines = scores(assigner, unseen.counts);
  std::size_t right = 0;
  for (std::size_t r = 0; r < unseen.label.size(); ++r) {
    right += best_target(std::span(cosines).subspan(r * labels, labels)) == unseen.label[r] ? 1 : 0;
  }
  return unseen.label.empty() ? 0 : static_cast<double>(right) / static_cast<double>(unseen.label.size());
}

}  // namespace moesaic::signature
