// The experts of one layer: y = W_down (silu(W_gate x) * (W_up x)) (SwiGLU; Shazeer 2020,
// arXiv:2002.05202), with weights that depend on (seed, layer, expert) alone, so that every replica of an
// expert holds the same. float32 and OpenBLAS on one thread; the reference is double and plain loops.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/ids.hpp"
#include "replay/options.hpp"

namespace moesaic::replay {

/// Hidden state of a token in a layer: numbers uniform in [-1, 1) of (seed, layer, store token).
std::vector<float> hidden_state(const Options& options, LayerId layer, std::uint64_t token);

class Experts {
 public:
  /// Weights of the distinct experts among `held` (the slots of one GPU). Memory: 3 x hidden x
  /// intermediate x 4 bytes an expert; nothing with options.compute off.
  Experts(const Options& options, LayerId layer, std::span<const ExpertId> held);

  /// y[i] = expert(x[i]) for `count` hidden states. REQUIRES: an expert held; x and y are [count, hidden].
  void run(std::size_t expert, std::span<const float> x, std::span<float> y) const;

 private:
  Options options_;
  LayerId layer_;
  std::vector<std::size_t> at_;  ///< [largest id + 1] position among the held ones; kNone
  std::vector<float> gate_up_;   ///< [held, 2 x intermediate, hidden]
  std::vector<float> down_;      ///< [held, hidden, intermediate]
};

/// One hidden state through one expert, in double, weights made on the way. O(hidden x intermediate).
std::vector<double> reference_expert(const Options& options, LayerId layer, std::size_t expert,
                                     std::span<const float> x);

}  // namespace moesaic::replay
