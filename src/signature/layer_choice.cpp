#include "signature/layer_choice.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "core/check.hpp"
#include "core/random.hpp"
#include "signature/ranks.hpp"

namespace moesaic::signature {
namespace {

using Pairs = std::vector<std::pair<std::uint32_t, std::uint32_t>>;

Pairs random_pairs(std::size_t requests, std::size_t count, std::uint64_t seed) {
  MOESAIC_CHECK(requests >= 2);
  Pcg32 random(seed);
  Pairs pairs;
  for (std::size_t p = 0; p < count; ++p) {
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

struct Greedy {
  std::vector<std::uint32_t> order;
  std::vector<double> rho_after;
};

Greedy greedy_order(const Products& layers, const std::vector<std::int64_t>& target, ThreadPool& pool) {
  Greedy out;
  Sums sums(target.size());
  std::vector<std::uint32_t> left(layers.dot.size());
  std::iota(left.begin(), left.end(), 0u);
  while (!left.empty()) {
    std::vector<double> rho(left.size());
    pool.parallel_for(left.size(), [&](std::size_t i) {
      thread_local Ranker ranker;
      const std::uint32_t layer = left[i];
      std::vector<float> distances(target.size());
      for (std::size_t p = 0; p < target.size(); ++p) {
        distances[p] = distance(sums.dot[p] + layers.dot[layer][p], sums.left[p] + layers.left[layer][p],
                                sums.right[p] + layers.right[layer][p]);
      }
      std::vector<std::int64_t> ranks(target.size());
      ranker.doubled_ranks(distances, ranks);
      rho[i] = rank_correlation(ranks, target);
    });
    const auto best = std::ranges::max_element(rho) - rho.begin();
    out.order.push_back(left[static_cast<std::size_t>(best)]);
    out.rho_after.push_back(rho[static_cast<std::size_t>(best)]);
    sums.add(layers, out.order.back());
    left.erase(left.begin() + best);
  }
  return out;
}

/// rho after each layer of `order`, on pairs of the requests `among`.
std::vector<double> rho_along(const std::vector<std::uint32_t>& order, const Products& layers,
                              const std::vector<std::int64_t>& target) {
  std::vector<double> out;
  Sums sums(target.size());
  for (const std::uint32_t layer : order) {
    sums.add(layers, layer);
    out.push_back(rank_correlation(ranks_of(sums), target));
  }
  return out;
}

/// Pairs of the requests named in `among`.
Pairs pairs_among(const std::vector<std::uint32_t>& among, std::size_t count, std::uint64_t seed) {
  Pairs pairs = random_pairs(among.size(), count, seed);
  for (auto& [a, b] : pairs) a = among[a], b = among[b];
  return pairs;
}

/// Parts of at least 12 requests; 0 when that leaves fewer than three.
std::size_t folds_of(std::size_t requests, const LayerChoiceOptions& options) {
  const std::size_t folds = std::min(options.folds, requests / 12);
  return folds < 3 ? 0 : folds;
}

/// The number of layers whose gain over all of them requests left out confirm; all of them where none does.
std::size_t confirmed_length(const Space& space, const CountsView& prefill, const CountsView& decode,
                             const LayerChoiceOptions& options, ThreadPool& pool) {
  const std::size_t layers = space.layers.size(), folds = folds_of(prefill.requests(), options);
  std::vector<double> sum(layers), squares(layers);
  for (std::size_t fold = 0; fold < folds; ++fold) {
    std::vector<std::uint32_t> learnt, left_out;
    for (std::uint32_t r = 0; r < prefill.requests(); ++r)
      (r % folds == fold ? left_out : learnt).push_back(r);
    const auto part = [&](const std::vector<std::uint32_t>& among, std::size_t count) {
      const Pairs pairs = pairs_among(among, std::max<std::size_t>(1, count), options.seed + 1 + fold);
      return std::pair(products(space, prefill, pairs, pool), decode_ranks(decode, pairs, pool));
    };
    const auto [seen, seen_target] = part(learnt, options.pairs / 3);
    const auto [unseen, unseen_target] = part(left_out, options.pairs / 3);
    const auto rho = rho_along(greedy_order(seen, seen_target, pool).order, unseen, unseen_target);
    for (std::size_t l = 0; l < layers; ++l) {
      const double gain = rho[l] - rho.back();
      sum[l] += gain;
      squares[l] += gain * gain;
    }
  }
  const auto n = static_cast<double>(folds);
  std::size_t length = layers;
  double best = 0;
  for (std::size_t l = 0; l + 1 < layers; ++l) {
    const double mean = sum[l] / n;
    const double error = std::sqrt(std::max(0.0, squares[l] / n - mean * mean) / (n - 1));
    if (mean - error > best) best = mean - error, length = l + 1;
  }
  return length;
}

}  // namespace

LayerChoice choose_layers(const Space& space, const CountsView& prefill, const CountsView& decode,
                          const LayerChoiceOptions& options, ThreadPool& pool) {
  MOESAIC_CHECK(prefill.requests() == decode.requests());
  const Pairs pairs = random_pairs(prefill.requests(), options.pairs, options.seed);
  Greedy greedy =
      greedy_order(products(space, prefill, pairs, pool), decode_ranks(decode, pairs, pool), pool);
  LayerChoice choice;
  choice.order = std::move(greedy.order);
  choice.rho_after = std::move(greedy.rho_after);
  choice.rho_all = choice.rho_after.back();
  const bool confirmed = folds_of(prefill.requests(), options) > 0;
  const std::size_t length =
      confirmed
          ? confirmed_length(space, prefill, decode, options, pool)
          : static_cast<std::size_t>(std::ranges::max_element(choice.rho_after) - choice.rho_after.begin()) +
                1;
  choice.positions.assign(choice.order.begin(), choice.order.begin() + static_cast<std::ptrdiff_t>(length));
  std::ranges::sort(choice.positions);
  choice.rho = choice.rho_after[length - 1];
  return choice;
}

double signature_rho(const Space& space, const CountsView& prefill, const CountsView& decode,
                     const LayerChoiceOptions& options, ThreadPool& pool) {
  MOESAIC_CHECK(prefill.requests() == decode.requests());
  const Pairs pairs = random_pairs(prefill.requests(), options.pairs, options.seed);
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
