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
/// Of the ridge, in units of the mean squared length of a centred row.
constexpr std::array<double, 3> kRidges = {0.3, 1, 3};
constexpr std::size_t kFolds = 4;

using Requests = std::vector<std::uint32_t>;

/// Requests as rows of frequencies.
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

/// Weights [n] of the rows' decodes in the prediction for the i-th, under a fit to those of other folds.
std::vector<double> weights_without(const std::vector<double>& gram, std::size_t n, std::size_t i,
                                    const Requests& others, const std::vector<double>& factor) {
  std::vector<double> weights(others.size());
  for (std::size_t j = 0; j < others.size(); ++j) weights[j] = gram[i * n + others[j]];
  solve_with(factor, others.size(), weights);
  return weights;
}

double mean_square(const std::vector<double>& gram, std::size_t n) {
  double trace = 0;
  for (std::size_t i = 0; i < n; ++i) trace += gram[i * n + i];
  return trace / static_cast<double>(n);
}

/// What the regression, fitted to other folds, predicts for each request: [n, L E], added to `mean`.
Rows cross_fitted(const std::vector<double>& prefill_gram, const Rows& decode, const std::vector<float>& mean,
                  double ridge, ThreadPool& pool) {
  const std::size_t n = decode.size();
  Rows out{.width = decode.width, .values = std::vector<float>(decode.values.size())};
  pool.parallel_for(kFolds, [&](std::size_t fold) {
    Requests others;
    for (std::uint32_t i = 0; i < n; ++i) {
      if (i % kFolds != fold) others.push_back(i);
    }
    std::vector<double> part(others.size() * others.size());
    for (std::size_t a = 0; a < others.size(); ++a) {
      for (std::size_t b = 0; b < others.size(); ++b)
        part[a * others.size() + b] = prefill_gram[others[a] * n + others[b]];
    }
    const std::vector<double> factor = cholesky(part, others.size(), ridge);
    for (std::size_t i = fold; i < n; i += kFolds) {
      const auto weights = weights_without(prefill_gram, n, i, others, factor);
      const auto row = out.row(i);
      std::ranges::copy(mean, row.begin());
      for (std::size_t j = 0; j < others.size(); ++j) {
        const auto from = decode.row(others[j]);
        const auto weight = static_cast<float>(weights[j]);
        for (std::size_t cell = 0; cell < row.size(); ++cell) row[cell] += weight * from[cell];
      }
    }
  });
  return out;
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

/// Read, offset and effect of the leading directions of the regression of decode on prefill, both centred.
void add_directions(const Rows& prefill, const std::vector<float>& prefill_mean, const Rows& decode,
                    const std::vector<double>& prefill_gram, double ridge, std::size_t directions,
                    std::uint64_t seed, ThreadPool& pool, Predictor& out) {
  const std::size_t n = prefill.size();
  // The fit to the learnt requests is H decode, H = K (K + ridge)^-1; its directions are those of H D D^T H.
  const std::vector<double> factor = cholesky(prefill_gram, n, ridge);
  std::vector<double> hat(n * n);
  pool.parallel_for(n, [&](std::size_t i) {
    const auto row = std::span(hat).subspan(i * n, n);
    std::copy_n(prefill_gram.begin() + static_cast<std::ptrdiff_t>(i * n), n, row.begin());
    solve_with(factor, n, row);
  });
  const auto combined = [&](const Rows& rows, std::span<const double> weights, std::span<float> to) {
    std::vector<double> sum(rows.width);
    for (std::size_t i = 0; i < n; ++i) {
      const auto row = rows.row(i);
      for (std::size_t cell = 0; cell < sum.size(); ++cell)
        sum[cell] += weights[i] * static_cast<double>(row[cell]);
    }
    for (std::size_t cell = 0; cell < sum.size(); ++cell) to[cell] = static_cast<float>(sum[cell]);
  };
  Rows fitted{.width = decode.width, .values = std::vector<float>(decode.values.size())};
  pool.parallel_for(
      n, [&](std::size_t i) { combined(decode, std::span(hat).subspan(i * n, n), fitted.row(i)); });
  const std::vector<double> space = leading_space(gram(fitted, pool), n, directions, seed);
  Rows effects{.width = decode.width, .values = std::vector<float>(directions * decode.width)};
  Rows reads{.width = prefill.width, .values = std::vector<float>(directions * prefill.width)};
  pool.parallel_for(directions, [&](std::size_t d) {
    combined(fitted, std::span(space).subspan(d * n, n), effects.row(d));
  });
  for (std::size_t d = 0; d < directions; ++d) {
    const auto effect = effects.row(d);
    for (std::size_t e = 0; e < d; ++e) {
      const float shared = dot(effect, effects.row(e));
      for (std::size_t i = 0; i < effect.size(); ++i) effect[i] -= shared * effects.row(e)[i];
    }
    const float length = std::sqrt(dot(effect, effect));
    const float scale = length > 1e-9f ? 1 / length : 0;
    for (float& value : effect) value *= scale;
  }
  // How far a request's decode lies along a direction is what its prefill must tell: a ridge regression.
  pool.parallel_for(directions, [&](std::size_t d) {
    std::vector<double> target(n);
    for (std::size_t i = 0; i < n; ++i) target[i] = static_cast<double>(dot(decode.row(i), effects.row(d)));
    solve_with(factor, n, target);
    combined(prefill, target, reads.row(d));
  });
  for (std::size_t d = 0; d < directions; ++d) out.offset.push_back(dot(reads.row(d), prefill_mean));
  out.read = std::move(reads.values);
  out.effect = std::move(effects.values);
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
  const std::size_t n = std::min(usable.size(), std::max<std::size_t>(1, options.max_requests));
  for (std::size_t i = 0; i < n; ++i) learnt.push_back(usable[i * usable.size() / n]);
  Rows decode = frequencies(data.decode, data.decode_tokens, n > 0 ? learnt : decoded, all);
  out.mean = mean_of(decode);
  if (n < kFolds) return out;
  subtract(decode, out.mean);

  const std::size_t directions =
      std::min({options.directions, kMaxDirections, options.effect_cells / out.width(), n / 4});
  if (directions == 0) {
    Rows means{.width = decode.width};
    for (std::size_t i = 0; i < n; ++i)
      means.values.insert(means.values.end(), out.mean.begin(), out.mean.end());
    choose(losses(means, data, learnt, pool), out);
    return out;
  }
  out.rows = telling_layers(data, learnt, options.read_cells / (directions * out.experts));
  Rows prefill = frequencies(data.prefill, data.prefill_tokens, learnt, out.rows);
  const std::vector<float> prefill_mean = mean_of(prefill);
  subtract(prefill, prefill_mean);
  const std::vector<double> prefill_gram = gram(prefill, pool);
  const double unit = std::max(1e-12, mean_square(prefill_gram, n));

  double best = 0, best_ridge = 0;
  std::vector<double> best_losses;
  for (const double ridge : kRidges) {
    const Rows q = cross_fitted(prefill_gram, decode, out.mean, ridge * unit, pool);
    std::vector<double> here = losses(q, data, learnt, pool);
    const double loss = choose(here, out);
    if (best_losses.empty() || loss < best) best = loss, best_ridge = ridge * unit, best_losses.swap(here);
  }
  choose(best_losses, out);
  add_directions(prefill, prefill_mean, decode, prefill_gram, best_ridge, directions, options.seed, pool,
                 out);
  return out;
}

}  // namespace moesaic::signature
