// What goes together: experts one token chooses in a layer, and in one layer and the next.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace moesaic::profile {

struct PairFigure {
  std::uint16_t a = 0, b = 0;
  double lift = 0;   ///< P(both) / (P(a) P(b))
  double share = 0;  ///< tokens that chose both / tokens
};
struct Clique {
  std::vector<std::uint16_t> experts;  ///< ascending
  double weakest_lift = 0;             ///< over its pairs
};

struct CoActivation {
  std::uint64_t tokens = 0;  ///< looked at; 0: k = 1 or too many experts
  double mean_lift = 0;      ///< over the pairs of experts that tokens choose
  double uniform_lift = 0;   ///< what a router without likings has: (k - 1) E / (k (E - 1))
  std::vector<PairFigure> strongest;
  std::vector<Clique> cliques;
};
struct Affinity {
  std::uint64_t tokens = 0;
  double information_bits = 0;        ///< mutual information of one expert here and one in the next layer
  double followed = 0;                ///< P(the likeliest expert there given the one here), over rows
  double followed_independent = 0;    ///< the same, when the layers knew nothing of each other
  std::vector<PairFigure> strongest;  ///< a here, b in the next layer
};

inline constexpr double kCliqueLift = 2;

/// pairs[a * E + b], a < b: tokens that chose both; single[e]: tokens that chose e.
/// Pairs of fewer than max(16, tokens / 1000) tokens are no evidence and left out of lists. Cliques are
/// grown greedily from the strongest pairs: every pair in one has a lift of kCliqueLift or more.
CoActivation co_activation(std::span<const std::uint32_t> pairs, std::span<const std::uint64_t> single,
                           std::uint64_t tokens, std::size_t top_k, std::size_t keep);

/// joint[a * E + b]: tokens that chose a here and b in the next layer.
Affinity affinity(std::span<const std::uint32_t> joint, std::span<const std::uint64_t> here,
                  std::span<const std::uint64_t> next, std::uint64_t tokens, std::size_t keep);

}  // namespace moesaic::profile
