// How many copies of a token cross nodes, wherever its request is at home, from the probabilities that it
// activates each expert: what a shared pool of waiting requests is dealt out by. docs/objective.md defines
// the copies; with probabilities 0 and 1 and a rule that looks at the source alone they are those of
// traffic::score_layer().
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "core/placement.hpp"
#include "core/topology.hpp"
#include "dispatch/dispatch.hpp"

namespace moesaic::grouping {

enum class CopyMode {
  kDedup,      ///< one a distinct remote node: 1 - prod(1 - p) over what the token reads there
  kPerExpert,  ///< one a row that leaves its node
};

class ExpectedCopies {
 public:
  /// A replica chosen by more than the source (vllm, trtllm, random) counts as any of the candidates, all
  /// alike. Memory: homes x L x E x nodes floats.
  ExpectedCopies(const Placement& placement, Attention attention, dispatch::Rule rule, CopyMode mode);

  std::size_t homes() const { return homes_; }
  /// Expected node copies of one token, all layers, of a request at `home`. O(L x E x nodes).
  /// REQUIRES: probabilities [L, E] in the placement's layers, home < homes().
  double at(std::size_t home, std::span<const float> probabilities) const;
  /// The same at every home: out [homes()].
  void of(std::span<const float> probabilities, std::span<double> out) const;

 private:
  CopyMode mode_;
  std::size_t homes_, nodes_, layers_, experts_;
  std::vector<float> share_;  ///< [homes, L, E, nodes] of an expert's rows that go to a node; 0 at home
};

}  // namespace moesaic::grouping
