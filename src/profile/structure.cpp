#include "profile/structure.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include "profile/statistics.hpp"

namespace moesaic::profile {
namespace {

double enough(std::uint64_t tokens) { return std::max(16.0, static_cast<double>(tokens) / 1000); }

void keep_strongest(std::vector<PairFigure>& pairs, std::size_t keep) {
  const auto stronger = [](const PairFigure& x, const PairFigure& y) {
    if (x.lift != y.lift) return x.lift > y.lift;
    return x.a != y.a ? x.a < y.a : x.b < y.b;
  };
  if (pairs.size() > keep) {
    std::partial_sort(pairs.begin(), pairs.begin() + static_cast<std::ptrdiff_t>(keep), pairs.end(),
                      stronger);
    pairs.resize(keep);
  } else {
    std::sort(pairs.begin(), pairs.end(), stronger);
  }
}

/// Lifts of the pairs that are evidence, in a symmetric matrix; 0 elsewhere.
std::vector<double> lifts(std::span<const std::uint32_t> pairs, std::span<const std::uint64_t> single,
                          std::uint64_t tokens) {
  const std::size_t experts = single.size();
  std::vector<double> out(experts * experts);
  for (std::size_t a = 0; a < experts; ++a) {
    for (std::size_t b = a + 1; b < experts; ++b) {
      const double both = pairs[a * experts + b];
      if (both < enough(tokens)) continue;
      out[a * experts + b] = out[b * experts + a] =
          both * static_cast<double>(tokens) /
          (static_cast<double>(single[a]) * static_cast<double>(single[b]));
    }
  }
  return out;
}

Clique grow(const std::vector<double>& lift, std::size_t experts, const PairFigure& seed,
            const std::vector<bool>& taken) {
  Clique out{.experts = {seed.a, seed.b}, .weakest_lift = seed.lift};
  while (out.experts.size() < 16) {
    std::size_t best = experts;
    double strongest = kCliqueLift;
    for (std::size_t e = 0; e < experts; ++e) {
      if (taken[e] || std::find(out.experts.begin(), out.experts.end(), e) != out.experts.end()) continue;
      double weakest = std::numeric_limits<double>::infinity();
      for (const std::uint16_t member : out.experts) weakest = std::min(weakest, lift[member * experts + e]);
      if (weakest > strongest || (weakest == strongest && best == experts)) {
        strongest = weakest;
        best = e;
      }
    }
    if (best == experts) break;
    out.experts.push_back(static_cast<std::uint16_t>(best));
    out.weakest_lift = std::min(out.weakest_lift, strongest);
  }
  std::sort(out.experts.begin(), out.experts.end());
  return out;
}

}  // namespace

CoActivation co_activation(std::span<const std::uint32_t> pairs, std::span<const std::uint64_t> single,
                           std::uint64_t tokens, std::size_t top_k, std::size_t keep) {
  const std::size_t experts = single.size();
  CoActivation out{
      .tokens = tokens, .mean_lift = kNothing, .uniform_lift = kNothing, .strongest = {}, .cliques = {}};
  if (tokens == 0 || top_k < 2 || experts < 2) return out;
  out.uniform_lift = static_cast<double>((top_k - 1) * experts) / static_cast<double>(top_k * (experts - 1));
  const std::vector<double> lift = lifts(pairs, single, tokens);
  double weighted = 0, total = 0;
  for (std::size_t a = 0; a < experts; ++a) {
    for (std::size_t b = a + 1; b < experts; ++b) {
      const double both = pairs[a * experts + b];
      if (both == 0) continue;
      total += both;
      weighted += both * both * static_cast<double>(tokens) /
                  (static_cast<double>(single[a]) * static_cast<double>(single[b]));
      if (lift[a * experts + b] > 0) {
        out.strongest.push_back({static_cast<std::uint16_t>(a), static_cast<std::uint16_t>(b),
                                 lift[a * experts + b], both / static_cast<double>(tokens)});
      }
    }
  }
  if (total > 0) out.mean_lift = weighted / total;
  keep_strongest(out.strongest, std::max<std::size_t>(keep, 64));
  std::vector<bool> taken(experts);
  for (const PairFigure& seed : out.strongest) {
    if (out.cliques.size() == 3 || seed.lift < kCliqueLift) break;
    if (taken[seed.a] || taken[seed.b]) continue;
    Clique clique = grow(lift, experts, seed, taken);
    if (clique.experts.size() < 3) continue;
    for (const std::uint16_t e : clique.experts) taken[e] = true;
    out.cliques.push_back(std::move(clique));
  }
  if (out.strongest.size() > keep) out.strongest.resize(keep);
  return out;
}

Affinity affinity(std::span<const std::uint32_t> joint, std::span<const std::uint64_t> here,
                  std::span<const std::uint64_t> next, std::uint64_t tokens, std::size_t keep) {
  const std::size_t experts = here.size();
  Affinity out{.tokens = tokens,
               .information_bits = kNothing,
               .followed = kNothing,
               .followed_independent = kNothing,
               .strongest = {}};
  std::vector<double> row(experts), column(experts);
  double total = 0;
  for (std::size_t a = 0; a < experts; ++a) {
    for (std::size_t b = 0; b < experts; ++b) {
      row[a] += joint[a * experts + b];
      column[b] += joint[a * experts + b];
    }
    total += row[a];
  }
  if (!(total > 0)) return out;
  double information = 0, followed = 0;
  for (std::size_t a = 0; a < experts; ++a) {
    double likeliest = 0;
    for (std::size_t b = 0; b < experts; ++b) {
      const double both = joint[a * experts + b];
      if (both == 0) continue;
      likeliest = std::max(likeliest, both);
      information += both / total * std::log2(both * total / (row[a] * column[b]));
      if (both < enough(tokens)) continue;
      const double lift =
          both * static_cast<double>(tokens) / (static_cast<double>(here[a]) * static_cast<double>(next[b]));
      out.strongest.push_back({static_cast<std::uint16_t>(a), static_cast<std::uint16_t>(b), lift,
                               both / static_cast<double>(tokens)});
    }
    followed += likeliest;
  }
  // joint counts each row here once for every choice there: P(b | a) is joint / rows of a.
  double rows = 0, most = 0;
  for (std::size_t e = 0; e < experts; ++e) {
    rows += static_cast<double>(here[e]);
    most = std::max(most, static_cast<double>(next[e]));
  }
  out.information_bits = std::max(0.0, information);
  out.followed = followed / rows;
  out.followed_independent = most / static_cast<double>(tokens);
  keep_strongest(out.strongest, keep);
  return out;
}

}  // namespace moesaic::profile
