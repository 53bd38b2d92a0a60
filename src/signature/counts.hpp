// Expert counts of many requests, as the other parts hand them over.
#pragma once

#include <cstddef>
#include <span>

namespace moesaic::signature {

/// values is [requests, layers, experts]: how often tokens of a request chose an expert (whole numbers
/// below 2^24 are exact), or the sum of the router weights of those choices. `layers` are layer rows of the
/// trace: row r is model layer ModelShape::layers[r].
struct CountsView {
  std::size_t layers = 0;
  std::size_t experts = 0;
  std::span<const float> values;

  std::size_t width() const { return layers * experts; }
  std::size_t requests() const { return width() == 0 ? 0 : values.size() / width(); }
  std::span<const float> request(std::size_t r) const { return values.subspan(r * width(), width()); }
};

}  // namespace moesaic::signature
