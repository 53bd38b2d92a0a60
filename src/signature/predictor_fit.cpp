#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "core/check.hpp"
#include "signature/assigner.hpp"
#include "signature/prediction.hpp"
#include "solve/balanced_kmeans.hpp"

namespace moesaic::signature {
namespace {

constexpr std::array<float, 5> kTrusts = {0, 0.25f, 0.5f, 0.75f, 1};
constexpr std::array<float, 6> kStrengths = {1, 4, 16, 64, 256, 1024};
/// Tokens of the overall mean that a cluster's decode frequencies start with.
constexpr double kClusterPrior = 8;

using Requests = std::vector<std::uint32_t>;

/// Decode frequencies of the named requests, all tokens alike, from a start worth kClusterPrior tokens.
std::vector<float> decode_frequency(const PredictionData& data, const Requests& requests,
                                    std::span<const float> start) {
  std::vector<double> sums(data.decode.width());
  double tokens = 0;
  for (const std::uint32_t r : requests) {
    tokens += data.decode_tokens[r];
    const auto counts = data.decode.request(r);
    for (std::size_t cell = 0; cell < sums.size(); ++cell) sums[cell] += static_cast<double>(counts[cell]);
  }
  const double prior = start.empty() ? 0 : kClusterPrior;
  std::vector<float> out(sums.size());
  for (std::size_t cell = 0; cell < out.size(); ++cell) {
    const double base = start.empty() ? 0 : static_cast<double>(start[cell]);
    out[cell] = static_cast<float>(std::clamp((sums[cell] + prior * base) / (tokens + prior), 0.0, 1.0));
  }
  return out;
}

/// Layers whose prototypes differ most, against what is common to all: the sum over experts of the
/// variance between clusters.
std::vector<std::uint32_t> telling_layers(const std::vector<float>& centroids, std::size_t clusters,
                                          std::size_t layers, std::size_t experts, std::size_t wanted) {
  const std::size_t width = layers * experts;
  std::vector<double> spread(layers);
  for (std::size_t cell = 0; cell < width; ++cell) {
    double sum = 0, squares = 0;
    for (std::size_t c = 0; c < clusters; ++c) {
      const auto value = static_cast<double>(centroids[c * width + cell]);
      sum += value, squares += value * value;
    }
    spread[cell / experts] += squares - sum * sum / static_cast<double>(clusters);
  }
  std::vector<std::uint32_t> rows(layers);
  std::iota(rows.begin(), rows.end(), 0u);
  std::ranges::stable_sort(rows, [&](auto a, auto b) { return spread[a] > spread[b]; });
  rows.resize(std::min(wanted, layers));
  std::ranges::sort(rows);
  return rows;
}

Space space_on(const std::vector<std::uint32_t>& rows, std::size_t experts) {
  Space space{.rows = rows, .experts = experts, .transform = Transform::kSqrtCount};
  for (const std::uint32_t row : rows) space.layers.push_back(static_cast<LayerId>(row));
  return space;
}

/// Mean and prototypes from the named requests; trust and strength are left to tune().
Predictor prototypes_of(const PredictionData& data, const Requests& requests, const PredictorOptions& options,
                        ThreadPool& pool) {
  Predictor out;
  out.layers = data.decode.layers;
  out.experts = data.decode.experts;
  out.mean = decode_frequency(data, requests, {});
  out.trust.assign(out.layers, 0);
  out.strength.assign(out.layers, 1);
  out.match.experts = out.experts;
  const std::size_t clusters = std::min({options.prototypes, kMaxPrototypes, requests.size() / 4});
  if (clusters < 2) return out;

  std::vector<std::uint32_t> all(out.layers);
  std::iota(all.begin(), all.end(), 0u);
  const solve::SparseRows rows = solve::pick(signatures(space_on(all, out.experts), data.prefill), requests);
  auto fitted = solve::kmeans(rows, {.clusters = clusters, .balanced = false, .seed = options.seed}, pool);
  MOESAIC_CHECK(fitted.has_value());  // capacities bind only when balanced
  out.match =
      space_on(telling_layers(fitted->centroids, clusters, out.layers, out.experts, options.match_layers),
               out.experts);
  out.prototypes = mean_prototypes(solve::pick(signatures(out.match, data.prefill), requests),
                                   fitted->cluster_of_item, clusters);
  for (std::size_t c = 0; c < clusters; ++c) {
    Requests members;
    for (std::size_t i = 0; i < requests.size(); ++i) {
      if (fitted->cluster_of_item[i] == c) members.push_back(requests[i]);
    }
    const auto frequency = decode_frequency(data, members, out.mean);
    out.decode.insert(out.decode.end(), frequency.begin(), frequency.end());
  }
  return out;
}

/// Adds to losses [layers, trusts, strengths] the log loss of one request under every choice.
void add_losses(const Predictor& prior, const PredictionData& data, std::uint32_t r,
                PredictionScratch& scratch, std::vector<float>& q, std::vector<double>& losses) {
  predict(prior, data.prefill.request(r), data.prefill_tokens[r], q,
          scratch);  // trust 0: the prototypes alone
  const auto own = data.prefill.request(r), decode = data.decode.request(r);
  const auto n = static_cast<double>(data.prefill_tokens[r]),
             tokens = static_cast<double>(data.decode_tokens[r]);
  for (std::size_t layer = 0; layer < prior.layers; ++layer) {
    for (std::size_t choice = 0; choice < kTrusts.size() * kStrengths.size(); ++choice) {
      const auto trust = static_cast<double>(kTrusts[choice / kStrengths.size()]);
      const double weight = trust * n / (n + static_cast<double>(kStrengths[choice % kStrengths.size()]));
      double loss = 0;
      for (std::size_t cell = layer * prior.experts; cell < (layer + 1) * prior.experts; ++cell) {
        const double p = std::clamp(
            weight * static_cast<double>(own[cell]) / n + (1 - weight) * static_cast<double>(q[cell]), 1e-4,
            1 - 1e-4);
        const double hits = std::min(static_cast<double>(decode[cell]), tokens);
        loss -= hits * std::log(p) + (tokens - hits) * std::log(1 - p);
      }
      losses[layer * kTrusts.size() * kStrengths.size() + choice] += loss;
    }
  }
}

}  // namespace

Predictor fit_predictor(const PredictionData& data, const PredictorOptions& options, ThreadPool& pool) {
  Requests usable, halves[2];
  for (std::uint32_t r = 0; r < data.decode.requests(); ++r) {
    if (data.decode_tokens[r] > 0) usable.push_back(r);
  }
  MOESAIC_CHECK(!usable.empty());
  Predictor out = prototypes_of(data, usable, options, pool);

  constexpr std::size_t kChoices = kTrusts.size() * kStrengths.size();
  std::vector<double> losses(out.layers * kChoices);
  for (std::size_t i = 0; i < usable.size(); ++i) halves[i % 2].push_back(usable[i]);
  std::vector<float> q(out.width());
  for (int half = 0; half < 2 && usable.size() > 1; ++half) {
    const Predictor prior = prototypes_of(data, halves[1 - half], options, pool);
    PredictionScratch scratch(prior);
    for (const std::uint32_t r : halves[half]) {
      if (data.prefill_tokens[r] > 0) add_losses(prior, data, r, scratch, q, losses);
    }
  }
  for (std::size_t layer = 0; layer < out.layers; ++layer) {
    const auto first = losses.begin() + static_cast<std::ptrdiff_t>(layer * kChoices);
    const auto best = static_cast<std::size_t>(std::min_element(first, first + kChoices) - first);
    out.trust[layer] = kTrusts[best / kStrengths.size()];
    out.strength[layer] = kStrengths[best % kStrengths.size()];
  }
  return out;
}

}  // namespace moesaic::signature
