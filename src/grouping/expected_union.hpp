// How many distinct (layer, expert) a step of some requests reads, from the probabilities that one token of
// each activates them: sum over cells of 1 - prod(1 - p), requests choosing independently.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace moesaic::grouping {

class ExpectedUnion {
 public:
  /// Nobody runs.
  explicit ExpectedUnion(std::size_t cells) : idle_(cells, 1.0f) {}

  void clear();
  /// A request joins. `probabilities` [cells], each in [0, 1]. O(cells).
  void add(std::span<const float> probabilities);
  /// Distinct cells that the request would add. O(cells), about 0.3 ns a cell.
  float added(std::span<const float> probabilities) const;
  /// Expected distinct cells of a step. O(cells).
  double size() const;

 private:
  std::vector<float> idle_;  ///< prod(1 - p)
};

}  // namespace moesaic::grouping
