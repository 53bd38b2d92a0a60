#include "profile/domains.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "profile/statistics.hpp"

namespace moesaic::profile {
namespace {

void put_leaves(const std::vector<Merge>& merges, std::size_t kinds, std::size_t node,
                std::vector<std::size_t>& order) {
  if (node < kinds) {
    order.push_back(node);
    return;
  }
  put_leaves(merges, kinds, merges[node - kinds].a, order);
  put_leaves(merges, kinds, merges[node - kinds].b, order);
}

}  // namespace

std::vector<double> Loads::of_all_kinds(std::size_t layer) const {
  std::vector<double> out(experts);
  for (std::size_t d = 0; d < kinds; ++d) {
    for (std::size_t e = 0; e < experts; ++e) out[e] += at(layer, d)[e];
  }
  return out;
}

Distances distances(const Loads& loads) {
  const std::size_t n = loads.kinds;
  Distances out{.jensen_shannon_bits = std::vector<double>(n * n, 0),
                .cosine = std::vector<double>(n * n, 1)};
  std::vector<double> bits(loads.layers), cosines(loads.layers);
  for (std::size_t a = 0; a < n; ++a) {
    for (std::size_t b = a + 1; b < n; ++b) {
      for (std::size_t l = 0; l < loads.layers; ++l) {
        bits[l] = jensen_shannon_bits(loads.at(l, a), loads.at(l, b));
        cosines[l] = cosine(loads.at(l, a), loads.at(l, b));
      }
      out.jensen_shannon_bits[a * n + b] = out.jensen_shannon_bits[b * n + a] = mean(bits);
      out.cosine[a * n + b] = out.cosine[b * n + a] = mean(cosines);
    }
  }
  return out;
}

std::vector<std::vector<OverUse>> over_used(const Loads& loads, std::size_t keep) {
  std::vector<std::vector<OverUse>> out(loads.kinds);
  for (std::size_t l = 0; l < loads.layers; ++l) {
    const std::vector<double> all = loads.of_all_kinds(l);
    const double total = sum(all);
    for (std::size_t d = 0; d < loads.kinds; ++d) {
      const double own = sum(loads.at(l, d));
      if (!(own > 0) || !(total - own > 0)) continue;
      for (std::size_t e = 0; e < loads.experts; ++e) {
        const double load = loads.at(l, d)[e];
        OverUse use{.layer = l, .expert = e, .share = load / own, .others = (all[e] - load) / (total - own)};
        if (use.share <= use.others) continue;
        use.ratio = use.others > 0 ? use.share / use.others : std::numeric_limits<double>::infinity();
        out[d].push_back(use);
      }
    }
  }
  for (auto& uses : out) {
    const std::size_t kept = std::min(keep, uses.size());
    std::partial_sort(uses.begin(), uses.begin() + static_cast<std::ptrdiff_t>(kept), uses.end(),
                      [](const OverUse& x, const OverUse& y) {
                        const double dx = x.share - x.others, dy = y.share - y.others;
                        if (dx != dy) return dx > dy;
                        return x.layer != y.layer ? x.layer < y.layer : x.expert < y.expert;
                      });
    uses.resize(kept);
  }
  return out;
}

Tree average_linkage(std::span<const double> distance, std::size_t kinds) {
  Tree tree;
  if (kinds == 0) return tree;
  double largest = 0;
  for (const double d : distance) {
    if (!std::isnan(d)) largest = std::max(largest, d);
  }
  std::vector<double> between(distance.begin(), distance.end());
  for (double& d : between) {
    if (std::isnan(d)) d = largest;
  }
  std::vector<std::size_t> node(kinds), size(kinds, 1);
  std::iota(node.begin(), node.end(), std::size_t{0});
  std::vector<bool> alive(kinds, true);
  for (std::size_t m = 0; m + 1 < kinds; ++m) {
    std::size_t a = kinds, b = kinds;
    for (std::size_t i = 0; i < kinds; ++i) {
      for (std::size_t j = i + 1; alive[i] && j < kinds; ++j) {
        if (alive[j] && (a == kinds || between[i * kinds + j] < between[a * kinds + b])) a = i, b = j;
      }
    }
    tree.merges.push_back({node[a], node[b], between[a * kinds + b]});
    for (std::size_t i = 0; i < kinds; ++i) {
      if (!alive[i] || i == a || i == b) continue;
      const auto wa = static_cast<double>(size[a]), wb = static_cast<double>(size[b]);
      between[i * kinds + a] = between[a * kinds + i] =
          (wa * between[i * kinds + a] + wb * between[i * kinds + b]) / (wa + wb);
    }
    alive[b] = false;
    size[a] += size[b];
    node[a] = kinds + m;
  }
  put_leaves(tree.merges, kinds, kinds == 1 ? 0 : 2 * kinds - 2, tree.order);
  return tree;
}

Generic generic_experts(const Loads& loads) {
  Generic out;
  std::vector<double> shares;
  const std::size_t quarter = std::max<std::size_t>(1, loads.experts / 4);
  for (std::size_t l = 0; l < loads.layers; ++l) {
    std::vector<std::size_t> busy(loads.experts), order(loads.experts);
    const std::vector<double> all = loads.of_all_kinds(l);
    std::size_t kinds = 0;
    for (std::size_t d = 0; d < loads.kinds; ++d) {
      const auto load = loads.at(l, d);
      if (!(sum(load) > 0)) continue;
      ++kinds;
      std::iota(order.begin(), order.end(), std::size_t{0});
      std::stable_sort(order.begin(), order.end(),
                       [&](std::size_t x, std::size_t y) { return load[x] > load[y]; });
      for (std::size_t i = 0; i < quarter; ++i) busy[order[i]] += load[order[i]] > 0;
    }
    out.experts.emplace_back();
    double rows = 0;
    for (std::size_t e = 0; e < loads.experts; ++e) {
      if (kinds == 0 || busy[e] < kinds) continue;
      out.experts.back().push_back(static_cast<std::uint16_t>(e));
      rows += all[e];
    }
    shares.push_back(kinds > 0 ? rows / sum(all) : kNothing);
  }
  out.share = mean(shares);
  return out;
}

}  // namespace moesaic::profile
