// How domains (or windows, or clusters) differ in what experts they use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace moesaic::profile {

/// Loads of D kinds of traffic in L layers: at(l, d) is [E]. Kinds and layers share one E.
struct Loads {
  std::size_t layers = 0, kinds = 0, experts = 0;
  std::vector<double> values;  ///< [layers, kinds, E]
  std::span<const double> at(std::size_t layer, std::size_t kind) const {
    return std::span(values).subspan((layer * kinds + kind) * experts, experts);
  }
  /// [E], of all kinds together.
  std::vector<double> of_all_kinds(std::size_t layer) const;
};

/// [kinds, kinds]: means over the layers in which both have load; NaN where there are none.
struct Distances {
  std::vector<double> jensen_shannon_bits, cosine;
};
Distances distances(const Loads& loads);

/// An expert that a kind of traffic uses more than all other traffic together does.
struct OverUse {
  std::size_t layer = 0, expert = 0;
  double share = 0;   ///< of the kind's rows in the layer
  double others = 0;  ///< of the others' rows
  double ratio = 0;   ///< share / others; infinite when no other uses it
};
/// For each kind the `keep` experts with the largest share - others.
std::vector<std::vector<OverUse>> over_used(const Loads& loads, std::size_t keep);

/// Average linkage (UPGMA, Sokal and Michener 1958) on a distance matrix. Merge m joins clusters `a` and
/// `b`; numbers below `kinds` are kinds, kinds + m is the cluster that merge m made. `order` puts kinds as
/// the tree's leaves. NaN counts as the largest distance. O(kinds^3).
struct Merge {
  std::size_t a = 0, b = 0;
  double height = 0;
};
struct Tree {
  std::vector<Merge> merges;
  std::vector<std::size_t> order;
};
Tree average_linkage(std::span<const double> distance, std::size_t kinds);

/// Experts in the busiest quarter (E / 4, at least one, ties by id) of every kind that has load in a layer.
/// With k experts a token, an expert's co-activations are k - 1 times its rows, so these are also the
/// experts of the highest weighted degree in every kind's co-activation graph.
struct Generic {
  std::vector<std::vector<std::uint16_t>> experts;  ///< by layer
  double share = 0;                                 ///< of all rows, mean over layers
};
Generic generic_experts(const Loads& loads);

}  // namespace moesaic::profile
