// Which layers to build signatures from: those on which requests that look alike in prefill also decode
// alike (ELDR, arXiv:2607.00466, section 4).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/thread_pool.hpp"
#include "signature/counts.hpp"
#include "signature/transform.hpp"

namespace moesaic::signature {

struct LayerChoiceOptions {
  std::size_t pairs = 30'000;  ///< random pairs of requests that distances are compared on
  std::uint64_t seed = 0;
  /// Parts of the requests that say how many layers to take, at most; below 3: none do.
  std::size_t folds = 8;
};

struct LayerChoice {
  std::vector<std::uint32_t> positions;  ///< chosen layers of the space, ascending
  double rho = 0;                        ///< with them
  std::vector<std::uint32_t> order;      ///< all layers as the greedy choice took them
  std::vector<double> rho_after;         ///< Spearman's rho after each
  double rho_all = 0;                    ///< with all layers = rho_after.back()
};

/// Greedy: starting from none, the layer is added that leaves the highest Spearman rho between the cosine
/// distances of the pairs' signatures (on the layers so far, of `prefill` in `space`) and of their decode
/// profiles (counts of `decode` on all layers). Pairs are drawn with replacement among different requests.
///
/// How many layers: the highest rho of that order is optimistic, for the order was made on the same pairs.
/// So every fold in turn is left out of a greedy choice of its own and scores each length of it; the length
/// whose gain over all layers is the most standard errors' worth above zero is taken (mean - error, over the
/// folds), and all layers where none is above. Fewer than 36 requests: the highest rho, the shortest on ties.
/// Exact given the pairs. O(folds * pairs * L^2) with a sort by radix an evaluation; memory O(pairs * L).
/// Deterministic. REQUIRES: at least 2 requests, both views of the same requests and shape, rows of `space`
/// inside it.
LayerChoice choose_layers(const Space& space, const CountsView& prefill, const CountsView& decode,
                          const LayerChoiceOptions& options, ThreadPool& pool);

/// As above for all layers of `space` at once, without a choice: the figure of ELDR's table of transforms.
double signature_rho(const Space& space, const CountsView& prefill, const CountsView& decode,
                     const LayerChoiceOptions& options, ThreadPool& pool);

/// Spearman's rank correlation, ties at their mean rank; 0 when either side is constant or empty.
/// O(n). REQUIRES: equal sizes below 2^20, no NaN.
double spearman(std::span<const float> a, std::span<const float> b);

}  // namespace moesaic::signature
