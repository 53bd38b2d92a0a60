#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "core/check.hpp"
#include "signature/dot.hpp"
#include "signature/low_rank.hpp"
#include "signature/prediction.hpp"

namespace moesaic::signature {
namespace {

constexpr std::array<double, 5> kTrusts = {0, 0.25, 0.5, 0.75, 1};
constexpr std::array<double, 7> kStrengths = {1, 4, 16, 64, 128, 256, 1024};
constexpr std::size_t kChoices = kTrusts.size() * kStrengths.size();
/// Of the kernel regression; a request is as similar as 1 to itself.
constexpr std::array<double, 6> kRidges = {0.01, 0.03, 0.1, 0.3, 1, 10};
/// Of the linear regression that tells where to look, in units of the mean squared length of a centred row.
constexpr double kReadRidge = 1;
/// Of the kernel, in mean distances between requests.
constexpr double kReach = 3;
/// Fewer directions than these do not tell requests apart; layers are left out instead.
constexpr std::size_t kLeastReads = 24;
constexpr std::size_t kFolds = 4;

using Requests = std::vector<std::uint32_t>;

/// A row for each request.
struct Rows {
  std::size_t width = 0;
  std::vector<float> values{};
  std::size_t size() const { return width == 0 ? 0 : values.size() / width; }
  std::span<const float> row(std::size_t i) const { return std::span(values).subspan(i * width, width); }
  std::span<float> row(std::size_t i) { return std::span(values).subspan(i * width, width); }
};

Rows frequencies(const CountsView& counts, std::span<const std::uint32_t> tokens, const Requests& requests,
                 const std::vector<std::uint32_t>& layers) {
  Rows out{.width = layers.size() * counts.experts};
  out.values.reserve(requests.size() * out.width);
  for (const std::uint32_t r : requests) {
    const float scale = 1 / static_cast<float>(tokens[r]);
    for (const std::uint32_t layer : layers) {
      for (const float count : counts.request(r).subspan(layer * counts.experts, counts.experts))
        out.values.push_back(std::min(1.0f, count * scale));
    }
  }
  return out;
}

std::vector<float> mean_of(const Rows& rows) {
  std::vector<double> sums(rows.width);
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const auto row = rows.row(r);
    for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += static_cast<double>(row[i]);
  }
  std::vector<float> out(rows.width);
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = static_cast<float>(sums[i] / static_cast<double>(std::max<std::size_t>(1, rows.size())));
  return out;
}

void subtract(Rows& rows, const std::vector<float>& mean) {
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const auto row = rows.row(r);
    for (std::size_t i = 0; i < mean.size(); ++i) row[i] -= mean[i];
  }
}

/// [n, n] inner products of rows.
std::vector<double> gram(const Rows& rows, ThreadPool& pool) {
  const std::size_t n = rows.size();
  std::vector<double> out(n * n);
  pool.parallel_for(n, [&](std::size_t i) {
    for (std::size_t j = 0; j <= i; ++j) out[i * n + j] = static_cast<double>(dot(rows.row(i), rows.row(j)));
  });
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = i + 1; j < n; ++j) out[i * n + j] = out[j * n + i];
  }
  return out;
}

/// Layers whose prefill frequencies differ most between requests, beyond what so few tokens differ by chance.
std::vector<std::uint32_t> telling_layers(const PredictionData& data, const Requests& requests,
                                          std::size_t wanted) {
  const std::size_t experts = data.prefill.experts, layers = data.prefill.layers;
  std::vector<double> signal(layers);
  for (std::size_t cell = 0; cell < layers * experts; ++cell) {
    double sum = 0, squares = 0, noise = 0;
    for (const std::uint32_t r : requests) {
      const auto n = static_cast<double>(data.prefill_tokens[r]);
      const double f = std::min(1.0, static_cast<double>(data.prefill.request(r)[cell]) / n);
      sum += f, squares += f * f, noise += f * (1 - f) / n;
    }
    signal[cell / experts] += squares - sum * sum / static_cast<double>(requests.size()) - noise;
  }
  std::vector<std::uint32_t> rows(layers);
  std::iota(rows.begin(), rows.end(), 0u);
  std::ranges::stable_sort(rows, [&](auto a, auto b) { return signal[a] > signal[b]; });
  rows.resize(std::clamp<std::size_t>(wanted, 1, layers));
  std::ranges::sort(rows);
  return rows;
}

double mean_square(const std::vector<double>& gram, std::size_t n) {
  double trace = 0;
  for (std::size_t i = 0; i < n; ++i) trace += gram[i * n + i];
  return trace / static_cast<double>(n);
}

/// Squared error [L, kChoices] of predictions `q` under every trust and strength, a token. It, not the log
/// loss, for what counts is how many experts a batch activates: a sum over cells of what is predicted, in
/// which an expert that is hardly ever chosen weighs little.
std::vector<double> losses(const Rows& q, const PredictionData& data, const Requests& requests,
                           ThreadPool& pool) {
  const std::size_t experts = data.decode.experts, layers = data.decode.layers;
  std::vector<double> out(layers * kChoices);
  pool.parallel_for(layers, [&](std::size_t layer) {
    for (std::size_t i = 0; i < requests.size(); ++i) {
      const std::uint32_t r = requests[i];
      const auto n = static_cast<double>(data.prefill_tokens[r]),
                 tokens = static_cast<double>(data.decode_tokens[r]);
      const auto own = data.prefill.request(r), decode = data.decode.request(r);
      for (std::size_t choice = 0; choice < kChoices; ++choice) {
        const double weight =
            kTrusts[choice / kStrengths.size()] * n / (n + kStrengths[choice % kStrengths.size()]);
        double loss = 0;
        for (std::size_t cell = layer * experts; cell < (layer + 1) * experts; ++cell) {
          const double p = std::clamp(weight * static_cast<double>(own[cell]) / n +
                                          (1 - weight) * static_cast<double>(q.row(i)[cell]),
                                      0.0, 1.0);
          const double error = std::min(1.0, static_cast<double>(decode[cell]) / tokens) - p;
          loss += error * error;
        }
        out[layer * kChoices + choice] += loss;
      }
    }
  });
  return out;
}

/// Sets every layer's trust and strength to its best choice; the loss of all layers then.
double choose(const std::vector<double>& losses, Predictor& out) {
  double total = 0;
  for (std::size_t layer = 0; layer < out.layers; ++layer) {
    const auto first = losses.begin() + static_cast<std::ptrdiff_t>(layer * kChoices);
    const auto best = static_cast<std::size_t>(std::min_element(first, first + kChoices) - first);
    out.trust[layer] = static_cast<float>(kTrusts[best / kStrengths.size()]);
    out.strength[layer] = static_cast<float>(kStrengths[best % kStrengths.size()]);
    total += *(first + static_cast<std::ptrdiff_t>(best));
  }
  return total;
}

/// Gram-Schmidt. A row that the ones before span becomes zero.
void orthonormalise(Rows& rows) {
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const auto row = rows.row(r);
    const float before = std::sqrt(dot(row, row));
    for (std::size_t other = 0; other < r; ++other) {
      const float shared = dot(row, rows.row(other));
      for (std::size_t i = 0; i < row.size(); ++i) row[i] -= shared * rows.row(other)[i];
    }
    const float length = std::sqrt(dot(row, row));
    const float scale = length > 1e-5f * before && length > 0 ? 1 / length : 0;
    for (float& value : row) value *= scale;
  }
}

/// Rows [weights.size() / n] that combine those of `from`, of which there are some.
Rows combined(const Rows& from, std::span<const float> weights, ThreadPool& pool) {
  const std::size_t n = from.size();
  MOESAIC_CHECK(n > 0);
  const std::size_t count = weights.size() / n;
  Rows out{.width = from.width, .values = std::vector<float>(count * from.width)};
  pool.parallel_for(count,
                    [&](std::size_t r) { add_rows(out.row(r), from.values, weights.subspan(r * n, n)); });
  return out;
}

/// The leading directions of a (kernel) ridge regression of decodes.
struct ReducedRank {
  Rows effects{};              ///< [count, L E], orthonormal
  std::vector<float> duals{};  ///< [count, n]: of the learnt requests, in how far a request lies along each
};

ReducedRank reduced_rank(const std::vector<double>& gram_of_prefills, const Rows& decode, double ridge,
                         std::size_t count, std::uint64_t seed, ThreadPool& pool) {
  const std::size_t n = decode.size();
  // The fit to the learnt requests is H decode, H = K (K + ridge)^-1; its directions are those of H D D^T H.
  const std::vector<double> factor = cholesky(gram_of_prefills, n, ridge);
  const auto solved = [&](std::span<double> row, std::span<float> to) {
    solve_with(factor, n, row);
    std::ranges::transform(row, to.begin(), [](double value) { return static_cast<float>(value); });
  };
  std::vector<float> hat(n * n);
  pool.parallel_for(n, [&](std::size_t i) {
    const auto from = gram_of_prefills.begin() + static_cast<std::ptrdiff_t>(i * n);
    std::vector<double> row(from, from + static_cast<std::ptrdiff_t>(n));
    solved(row, std::span(hat).subspan(i * n, n));
  });
  const Rows fitted = combined(decode, hat, pool);
  const std::vector<double> space = leading_space(gram(fitted, pool), n, count, seed);
  const std::vector<float> leading(space.begin(), space.end());
  ReducedRank out{.effects = combined(fitted, leading, pool), .duals = std::vector<float>(count * n)};
  orthonormalise(out.effects);
  pool.parallel_for(count, [&](std::size_t d) {
    std::vector<double> target(n);
    for (std::size_t i = 0; i < n; ++i)
      target[i] = static_cast<double>(dot(decode.row(i), out.effects.row(d)));
    solved(target, std::span(out.duals).subspan(d * n, n));
  });
  return out;
}

/// Rows, reads, offsets and anchors: where prefills are compared, and where the learnt ones are there.
void look(const PredictionData& data, const Requests& learnt, const Rows& decode, std::size_t reads,
          const PredictorOptions& options, ThreadPool& pool, Predictor& out) {
  out.rows = telling_layers(data, learnt, options.read_cells / (reads * out.experts));
  Rows prefill = frequencies(data.prefill, data.prefill_tokens, learnt, out.rows);
  roots(prefill.values, prefill.values, 1, kRootShift);
  const std::vector<float> mean = mean_of(prefill);
  subtract(prefill, mean);
  const std::vector<double> products = gram(prefill, pool);
  const double unit = std::max(1e-12, mean_square(products, prefill.size()));
  const ReducedRank linear = reduced_rank(products, decode, kReadRidge * unit, reads, options.seed, pool);
  Rows read = combined(prefill, linear.duals, pool);
  orthonormalise(read);
  for (std::size_t d = 0; d < reads; ++d) {
    out.offset.push_back(dot(read.row(d), mean));
    for (std::size_t i = 0; i < prefill.size(); ++i) out.anchors.push_back(dot(prefill.row(i), read.row(d)));
  }
  out.read = std::move(read.values);
}

/// [A, A] of the anchors; sets the reach.
std::vector<double> similarities(Predictor& out) {
  const std::size_t n = out.anchor_count();
  std::vector<double> to(n * n);
  for (std::size_t d = 0; d < out.reads(); ++d) {
    const auto z = std::span(out.anchors).subspan(d * n, n);
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j < n; ++j) {
        const double apart = static_cast<double>(z[i]) - static_cast<double>(z[j]);
        to[i * n + j] += apart * apart;
      }
    }
  }
  double sum = 0;
  for (double& distance : to) sum += distance = std::sqrt(distance);
  const double mean = sum / std::max(1.0, static_cast<double>(n) * static_cast<double>(n - 1));
  out.reach = static_cast<float>(std::clamp(kReach * mean, 1e-3, 1e3));
  for (double& distance : to) distance = std::exp(-distance / static_cast<double>(out.reach));
  return to;
}

/// [A] of the anchors to one prefill that is none of them.
std::vector<double> similarities_to(const Predictor& from, const CountsView& prefill, std::uint32_t request,
                                    std::uint32_t tokens) {
  std::vector<float> features;
  for (const std::uint32_t row : from.rows) {
    const auto counts = prefill.request(request).subspan(row * from.experts, from.experts);
    features.insert(features.end(), counts.begin(), counts.end());
  }
  roots(features, features, 1 / static_cast<float>(tokens), kRootShift);
  const std::size_t n = from.anchor_count();
  std::vector<double> to(n);
  for (std::size_t d = 0; d < from.reads(); ++d) {
    const float z =
        dot(features, std::span(from.read).subspan(d * features.size(), features.size())) - from.offset[d];
    for (std::size_t a = 0; a < n; ++a) {
      const double apart = static_cast<double>(z) - static_cast<double>(from.anchors[d * n + a]);
      to[a] += apart * apart;
    }
  }
  for (double& distance : to) distance = std::exp(-std::sqrt(distance) / static_cast<double>(from.reach));
  return to;
}

/// A quarter of the learnt requests as the others see them: nothing here has seen how these decode, but for
/// the mean of all.
struct Fold {
  Requests of, others;              ///< positions among the learnt
  std::vector<double> between{};    ///< [others, others]
  std::vector<double> to_others{};  ///< [of, others]
};

Fold fold_of(const PredictionData& data, const Requests& learnt, const Rows& decode, std::size_t which,
             std::size_t reads, const PredictorOptions& options, ThreadPool& pool) {
  Fold out;
  Requests requests;
  Rows known{.width = decode.width};
  for (std::uint32_t i = 0; i < learnt.size(); ++i) {
    (i % kFolds == which ? out.of : out.others).push_back(i);
    if (i % kFolds == which) continue;
    requests.push_back(learnt[i]);
    known.values.insert(known.values.end(), decode.row(i).begin(), decode.row(i).end());
  }
  Predictor part;
  part.layers = data.decode.layers;
  part.experts = data.decode.experts;
  look(data, requests, known, std::min(reads, std::max<std::size_t>(1, requests.size() / 4)), options, pool,
       part);
  out.between = similarities(part);
  const std::size_t n = out.others.size();
  out.to_others.resize(out.of.size() * n);
  pool.parallel_for(out.of.size(), [&](std::size_t i) {
    const std::uint32_t request = learnt[out.of[i]];
    std::ranges::copy(similarities_to(part, data.prefill, request, data.prefill_tokens[request]),
                      out.to_others.begin() + static_cast<std::ptrdiff_t>(i * n));
  });
  return out;
}

/// What the regression, fitted to other folds, predicts for each request: [n, L E], added to `mean`.
Rows cross_fitted(const std::vector<Fold>& folds, const Rows& decode, const std::vector<float>& mean,
                  double ridge, ThreadPool& pool) {
  Rows out{.width = decode.width, .values = std::vector<float>(decode.values.size())};
  pool.parallel_for(folds.size(), [&](std::size_t f) {
    const Fold& fold = folds[f];
    const std::size_t n = fold.others.size();
    const std::vector<double> factor = cholesky(fold.between, n, ridge);
    for (std::size_t i = 0; i < fold.of.size(); ++i) {
      const auto from = fold.to_others.begin() + static_cast<std::ptrdiff_t>(i * n);
      std::vector<double> weights(from, from + static_cast<std::ptrdiff_t>(n));
      solve_with(factor, n, weights);
      std::vector<float> of_all(decode.size());  // none of this fold
      for (std::size_t j = 0; j < n; ++j) of_all[fold.others[j]] = static_cast<float>(weights[j]);
      const auto row = out.row(fold.of[i]);
      std::ranges::copy(mean, row.begin());
      add_rows(row, decode.values, of_all);
    }
  });
  return out;
}

}  // namespace

Predictor fit_predictor(const PredictionData& data, const PredictorOptions& options, ThreadPool& pool) {
  Predictor out;
  out.layers = data.decode.layers;
  out.experts = data.decode.experts;
  out.trust.assign(out.layers, 0);
  out.strength.assign(out.layers, 1);
  std::vector<std::uint32_t> all(out.layers);
  std::iota(all.begin(), all.end(), 0u);

  Requests decoded, usable, learnt;
  for (std::uint32_t r = 0; r < data.decode.requests(); ++r) {
    if (data.decode_tokens[r] == 0) continue;
    decoded.push_back(r);
    if (data.prefill_tokens[r] > 0) usable.push_back(r);
  }
  MOESAIC_CHECK(!decoded.empty());
  const std::size_t n =
      std::min({usable.size(), kMaxAnchors, std::max<std::size_t>(1, options.max_requests)});
  for (std::size_t i = 0; i < n; ++i) learnt.push_back(usable[i * usable.size() / n]);
  Rows decode = frequencies(data.decode, data.decode_tokens, n > 0 ? learnt : decoded, all);
  out.mean = mean_of(decode);
  if (n < kFolds) return out;
  subtract(decode, out.mean);

  const auto most = [&](std::size_t wanted) { return std::min(wanted, n / 4); };
  const std::size_t wide = std::max(kLeastReads, options.read_cells / out.width());
  const std::size_t reads = most(std::min({options.reads, kMaxReads, wide}));
  const std::size_t effects =
      most(std::min({options.effects, kMaxEffects, options.effect_cells / out.width()}));
  if (reads == 0 || effects == 0) {
    Rows means{.width = decode.width};
    for (std::size_t i = 0; i < n; ++i)
      means.values.insert(means.values.end(), out.mean.begin(), out.mean.end());
    choose(losses(means, data, learnt, pool), out);
    return out;
  }
  std::vector<Fold> folds;
  for (std::size_t f = 0; f < kFolds; ++f)
    folds.push_back(fold_of(data, learnt, decode, f, reads, options, pool));
  double best = 0, best_ridge = 0;
  std::vector<double> best_losses;
  for (const double ridge : kRidges) {
    const Rows q = cross_fitted(folds, decode, out.mean, ridge, pool);
    std::vector<double> here = losses(q, data, learnt, pool);
    const double loss = choose(here, out);
    if (best_losses.empty() || loss < best) best = loss, best_ridge = ridge, best_losses.swap(here);
  }
  choose(best_losses, out);
  look(data, learnt, decode, reads, options, pool, out);
  const std::vector<double> similar = similarities(out);
  ReducedRank regression = reduced_rank(similar, decode, best_ridge, effects, options.seed, pool);
  out.weight.resize(n * effects);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t o = 0; o < effects; ++o) out.weight[i * effects + o] = regression.duals[o * n + i];
  }
  out.effect = std::move(regression.effects.values);
  return out;
}

}  // namespace moesaic::signature
