// `eldr` and `eldr-static`: ELDR (arXiv:2607.00466). One centroid of signatures a decoder; a request goes to
// the least loaded of the decoders whose centroid is nearly the nearest. The baseline that `marginal` is
// measured against.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/clock.hpp"
#include "routing/policy.hpp"
#include "signature/transform.hpp"

namespace moesaic::routing {

struct EldrOptions {
  signature::Space space{};    ///< bound to the layer rows of the counts
  std::size_t layer_rows = 0;  ///< of the counts; requests with counts of another size are placed by load
  /// [K, space.width()] unit rows: the i-th worker to come up gets the i-th. Empty: none until a refit.
  std::vector<float> centroids{};
  /// Decoders with cosine >= best - tau qualify. 0: the nearest alone decides (with the runner-up, below);
  /// large: join the shortest queue.
  double tau = 0.1;
  /// When one decoder alone qualifies, the two nearest do.
  bool nearest_two = true;
  /// Refit on the signatures of the last `window`, this often. Zero: never (`eldr-static`).
  Nanoseconds refit_every{0};
  Nanoseconds window = std::chrono::seconds(5);
  std::size_t max_window_requests = 8192;    ///< the newest are kept
  std::size_t min_requests_per_decoder = 4;  ///< fewer in the window: no refit yet
  std::uint64_t seed = 0;
};

/// Decoders without a centroid (they joined after the last fit) always qualify, so that load decides about
/// them. After a refit new centroids take the places of the old ones by the one-to-one match of the greatest
/// total cosine. A change of the decoders asks for a refit at the next tick.
/// REQUIRES: a valid space whose rows are below layer_rows; centroids of whole rows.
std::unique_ptr<DecodePolicy> make_eldr(EldrOptions options);

}  // namespace moesaic::routing
