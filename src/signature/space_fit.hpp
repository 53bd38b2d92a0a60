// What a router learns from recorded requests: the space that signatures live in, and where in it each
// decoder stands (ELDR, arXiv:2607.00466, section 4).
#pragma once

#include <cstddef>

#include "core/model_shape.hpp"
#include "core/result.hpp"
#include "core/thread_pool.hpp"
#include "signature/counts.hpp"
#include "signature/layer_choice.hpp"
#include "signature/transform.hpp"
#include "solve/balanced_kmeans.hpp"

namespace moesaic::signature {

struct FittedSpace {
  Space all{};           ///< every layer; idf from `prefill` where the transform wants it
  LayerChoice choice{};  ///< of its layers

  /// The layers of the highest rho.
  Space best() const { return restricted(all, choice.positions); }
  /// The `count` layers that the greedy choice took first. REQUIRES: 0 < count <= all.layers.size().
  Space first(std::size_t count) const;
};

/// Cost, determinism and what is REQUIRED: those of choose_layers().
FittedSpace fit_space(const ModelShape& shape, Transform transform, const CountsView& prefill,
                      const CountsView& decode, const LayerChoiceOptions& options, ThreadPool& pool);

/// K-means of the signatures: centroids are the decoders' prototypes. Errors: those of solve::kmeans().
Result<solve::KmeansResult> cluster_signatures(const Space& space, const CountsView& prefill,
                                               const solve::KmeansOptions& options, ThreadPool& pool);

}  // namespace moesaic::signature
