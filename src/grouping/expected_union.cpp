#include "grouping/expected_union.hpp"

#include <algorithm>

#include "core/check.hpp"
#include "signature/dot.hpp"

namespace moesaic::grouping {

void ExpectedUnion::clear() { std::ranges::fill(idle_, 1.0f); }

void ExpectedUnion::add(std::span<const float> probabilities) {
  MOESAIC_CHECK(probabilities.size() == idle_.size());
  for (std::size_t i = 0; i < idle_.size(); ++i) idle_[i] *= 1 - probabilities[i];
}

float ExpectedUnion::added(std::span<const float> probabilities) const {
  return signature::dot(idle_, probabilities);
}

double ExpectedUnion::size() const {
  double active = 0;
  for (const float idle : idle_) active += 1 - static_cast<double>(idle);
  return active;
}

}  // namespace moesaic::grouping
