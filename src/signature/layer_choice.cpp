#include "signature/layer_choice.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/check.hpp"
#include "core/random.hpp"
#include "signature/ranks.hpp"

namespace moesaic::signature {
namespace {

using Pairs = std::vector<std::pair<std::uint32_t, std::uint32_t>>;

Pairs random_pairs(std::size_t requests, const LayerChoiceOptions& options) {
  MOESAIC_CHECK(requests >= 2);
  Pcg32 random(options.seed);
  Pairs pairs;
  for (std::size_t p = 0; p < options.pairs; ++p) {
    const std::uint32_t a = random.below(static_cast<std::uint32_t>(requests));
    const std::uint32_t b = random.below(static_cast<std::uint32_t>(requests - 1));
    pairs.emplace_back(a, b < a ? b : b + 1);
  }
  return pairs;
}

/// What cosines on any set of layers are sums of: dot products of the pairs and squared lengths of their
/// requests, a layer.
struct Products {
  std::vector<std::vector<double>> dot, left, right;  ///< [layer][pair]
};

Products products(const Space& space, const CountsView& counts, const Pairs& pairs, ThreadPool& pool) {
  const std::size_t layers = space.layers.size();
  Products out{std::vector<std::vector<double>>(layers), std::vector<std::vector<double>>(layers),
               std::vector<std::vector<double>>(layers)};
  pool.parallel_for(layers, [&](std::size_t layer) {
    const auto position = static_cast<std::uint32_t>(layer);
    const Space alone = restricted(space, std::span(&position, 1));
    std::vector<float> values(counts.requests() * alone.experts);
    std::vector<double> squares(counts.requests());
    for (std::size_t r = 0; r < counts.requests(); ++r) {
      const auto row = std::span(values).subspan(r * alone.experts, alone.experts);
      transformed(alone, counts.request(r), row);
      for (const float v : row) squares[r] += static_cast<double>(v) * static_cast<double>(v);
    }
    for (const auto& [a, b] : pairs) {
      double sum = 0;
      for (std::size_t e = 0; e < alone.experts; ++e) {
        sum += static_cast<double>(values[a * alone.experts + e]) *
               static_cast<double>(values[b * alone.experts + e]);
      }
      out.dot[layer].push_back(sum);
      out.left[layer].push_back(squares[a]);
      out.right[layer].push_back(squares[b]);
    }
  });
  return out;
}

float distance(double dot, double left, double right) {
  const double lengths = std::sqrt(left) * std::sqrt(right);
  return lengths > 0 ? static_cast<float>(1 - dot / lengths) : 1.0F;
}

/// Sums of Products over a growing set of layers.
struct Sums {
  std::vector<double> dot, left, right;
  explicit Sums(std::size_t pairs) : dot(pairs), left(pairs), right(pairs) {}
  void add(const Products& products, std::size_t layer) {
    for (std::size_t p = 0; p < dot.size(); ++p) {
      dot[p] += products.dot[layer][p];
      left[p] += products.left[layer][p];
      right[p] += products.right[layer][p];
    }
  }
};

std::vector<std::int64_t> ranks_of(const Sums& sums) {
  std::vector<float> distances(sums.dot.size());
  for (std::size_t p = 0; p < distances.size(); ++p)
    distances[p] = distance(sums.dot[p], sums.left[p], sums.right[p]);
  std::vector<std::int64_t> ranks(distances.size());
  Ranker().doubled_ranks(distances, ranks);
  return ranks;
}

std::vector<std::int64_t> decode_ranks(const CountsView& decode, const Pairs& pairs, ThreadPool& pool) {
  Space plain{.experts = decode.experts};
  for (std::uint32_t row = 0; row < decode.layers; ++row) {
    plain.layers.push_back(LayerId(static_cast<std::uint16_t>(row)));
    plain.rows.push_back(row);
  }
  const Products all = products(plain, decode, pairs, pool);
  Sums sums(pairs.size());
  for (std::size_t layer = 0; layer < decode.layers; ++layer) sums.add(all, layer);
  return ranks_of(sums);
}

}  // namespace

LayerChoice choose_layers(const Space& space, const CountsView& prefill, const CountsView& decode,
                          const LayerChoiceOptions& options, ThreadPool& pool) {
  MOESAIC_CHECK(prefill.requests() == decode.requests());
  const Pairs pairs = random_pairs(prefill.requests(), options);
  const Products layers = products(space, prefill, pairs, pool);
  const std::vector<std::int64_t> target = decode_ranks(decode, pairs, pool);

  LayerChoice choice;
  Sums sums(pairs.size());
  std::vector<std::uint32_t> left(space.layers.size());
  for (std::uint32_t l = 0; l < left.size(); ++l) left[l] = l;
  while (!left.empty()) {
    std::vector<double> rho(left.size());
    pool.parallel_for(left.size(), [&](std::size_t i) {
      thread_local Ranker ranker;
      const std::uint32_t layer = left[i];
      std::vector<float> distances(pairs.size());
      for (std::size_t p = 0; p < pairs.size(); ++p) {
        distances[p] = distance(sums.dot[p] + layers.dot[layer][p], sums.left[p] + layers.left[layer][p],
                                sums.right[p] + layers.right[layer][p]);
      }
      std::vector<std::int64_t> ranks(pairs.size());
      ranker.doubled_ranks(distances, ranks);
      rho[i] = rank_correlation(ranks, target);
    });
    const auto best = std::ranges::max_element(rho) - rho.begin();
    choice.order.push_back(left[static_cast<std::size_t>(best)]);
    choice.rho_after.push_back(rho[static_cast<std::size_t>(best)]);
    sums.add(layers, choice.order.back());
    left.erase(left.begin() + best);
  }
  const auto peak = std::ranges::max_element(choice.rho_after) - choice.rho_after.begin();
  choice.positions.assign(choice.order.begin(), choice.order.begin() + peak + 1);
  std::ranges::sort(choice.positions);
  choice.rho = choice.rho_after[static_cast<std::size_t>(peak)];
  choice.rho_all = choice.rho_after.back();
  return choice;
}

double signature_rho(const Space& space, const CountsView& prefill, const CountsView& decode,
                     const LayerChoiceOptions& options, ThreadPool& pool) {
  MOESAIC_CHECK(prefill.requests() == decode.requests());
  const Pairs pairs = random_pairs(prefill.requests(), options);
  const Products layers = products(space, prefill, pairs, pool);
  Sums sums(pairs.size());
  for (std::size_t layer = 0; layer < space.layers.size(); ++layer) sums.add(layers, layer);
  return rank_correlation(ranks_of(sums), decode_ranks(decode, pairs, pool));
}

double spearman(std::span<const float> a, std::span<const float> b) {
  Ranker ranker;
  std::vector<std::int64_t> ranks_a(a.size()), ranks_b(b.size());
  ranker.doubled_ranks(a, ranks_a);
  ranker.doubled_ranks(b, ranks_b);
  return rank_correlation(ranks_a, ranks_b);
}

}  // namespace moesaic::signature
