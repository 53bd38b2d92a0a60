#include "grouping/patterns_groups.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "core/check.hpp"
#include "core/random.hpp"
#include "grouping/token_balance.hpp"
#include "solve/balanced_kmeans.hpp"
#include "solve/similarity.hpp"

namespace moesaic::grouping {
namespace {

using signature::Space;
using signature::Transform;

/// floor or ceil(items / clusters) each, so that no cluster stays short.
std::vector<std::int64_t> even_capacities(std::size_t items, std::size_t clusters) {
  std::vector<std::int64_t> capacities;
  for (std::size_t c = 0; c < clusters; ++c) {
    capacities.push_back(static_cast<std::int64_t>(items / clusters + (c < items % clusters ? 1 : 0)));
  }
  return capacities;
}

/// Cluster of each of the items, equal in number by exact assignment and nearly so in tokens by repair.
std::vector<std::uint32_t> split(const solve::SparseRows& items, std::span<const std::int64_t> tokens,
                                 std::size_t clusters, const PatternsOptions& options, std::uint64_t seed,
                                 ThreadPool& pool) {
  if (clusters == 1 || items.rows() == 0) return std::vector<std::uint32_t>(items.rows());
  auto found = solve::kmeans(items,
                             {.clusters = clusters,
                              .capacities = even_capacities(items.rows(), clusters),
                              .starts = options.starts,
                              .seed = seed},
                             pool);
  MOESAIC_CHECK(found.has_value());  // the capacities hold every item
  std::vector<float> cosines(items.rows() * clusters);
  solve::similarities(items, found->centroids, clusters, cosines, pool);
  const std::vector<double> scores(cosines.begin(), cosines.end());
  balance_tokens(scores, tokens, signature::equal_shares(clusters), options.token_slack,
                 found->cluster_of_item);
  return std::move(found->cluster_of_item);
}

std::vector<std::uint32_t> cluster_into_homes(const solve::SparseRows& decode, const PatternsInput& input,
                                              const PatternsOptions& options, ThreadPool& pool) {
  std::vector<std::uint32_t> home_of =
      split(decode, input.tokens, input.topology.nodes, options, options.seed, pool);
  if (input.attention == Attention::kTensorParallel) return home_of;
  const std::size_t gpus = input.topology.gpus_per_node;
  std::vector<std::uint32_t> node_of = std::move(home_of);
  home_of.assign(node_of.size(), 0);
  for (std::uint32_t node = 0; node < input.topology.nodes; ++node) {
    std::vector<std::uint32_t> members;
    std::vector<std::int64_t> tokens;
    for (std::uint32_t i = 0; i < node_of.size(); ++i) {
      if (node_of[i] != node) continue;
      members.push_back(i);
      tokens.push_back(input.tokens[i]);
    }
    const auto local =
        split(solve::pick(decode, members), tokens, gpus, options, counter_hash({options.seed, node}), pool);
    for (std::size_t m = 0; m < members.size(); ++m) {
      home_of[members[m]] = static_cast<std::uint32_t>(node * gpus) + local[m];
    }
  }
  return home_of;
}

/// The requests left out of the prototypes when these are compared.
std::vector<bool> validation_set(std::size_t requests, const PatternsOptions& options) {
  std::vector<std::uint32_t> order(requests);
  std::iota(order.begin(), order.end(), 0u);
  std::ranges::stable_sort(order, {}, [&](std::uint32_t i) { return counter_hash({options.seed, i}); });
  std::vector<bool> chosen(requests);
  const double share = std::clamp(options.validation_share, 0.0, 0.5);
  const auto count = static_cast<std::size_t>(share * static_cast<double>(requests));
  for (std::size_t i = 0; i < count; ++i) chosen[order[i]] = true;
  return chosen;
}

struct Candidate {
  Space space;
  PrototypeSource source = PrototypeSource::kPredict;
  solve::SparseRows predict{}, members{};  ///< signatures to classify, and those prototypes are means of
};

Candidate make_candidate(const PatternsInput& input, Transform transform, PrototypeSource source) {
  std::vector<float> idf;
  if (transform == Transform::kCountIdf) idf = signature::inverse_document_frequency(input.predict);
  Candidate candidate{.space = signature::all_layers(input.shape, transform, idf), .source = source};
  candidate.predict = signature::signatures(candidate.space, input.predict);
  candidate.members = source == PrototypeSource::kPredict
                          ? candidate.predict
                          : signature::signatures(candidate.space, input.decode);
  return candidate;
}

struct Verdict {
  double accuracy = 0, similarity = 0;
};

/// Prototypes and centroids from the requests that are not left out, judged on those that are.
Verdict judge(const Candidate& candidate, const solve::SparseRows& decode,
              std::span<const std::uint32_t> home_of, const std::vector<bool>& left_out, std::size_t homes) {
  std::vector<std::uint32_t> kept, kept_home;
  for (std::uint32_t i = 0; i < home_of.size(); ++i) {
    if (left_out[i]) continue;
    kept.push_back(i);
    kept_home.push_back(home_of[i]);
  }
  const auto prototypes = signature::mean_prototypes(solve::pick(candidate.members, kept), kept_home, homes);
  const auto centroids = signature::mean_prototypes(solve::pick(decode, kept), kept_home, homes);
  Verdict verdict;
  std::vector<double> scores(homes);
  for (std::uint32_t i = 0; i < home_of.size(); ++i) {
    if (!left_out[i]) continue;
    const std::size_t width = candidate.space.width();
    for (std::size_t h = 0; h < homes; ++h) {
      scores[h] = solve::dot(candidate.predict.row(i), std::span(prototypes).subspan(h * width, width));
    }
    const std::size_t found = signature::best_target(scores);
    verdict.accuracy += found == home_of[i] ? 1 : 0;
    verdict.similarity +=
        solve::dot(decode.row(i), std::span(centroids).subspan(found * decode.width, decode.width));
  }
  const double judged = std::max(1.0, static_cast<double>(home_of.size() - kept.size()));
  return {verdict.accuracy / judged, verdict.similarity / judged};
}

void choose_assigner(const PatternsInput& input, const solve::SparseRows& decode,
                     std::span<const std::uint32_t> home_of, const PatternsOptions& options,
                     PatternsGroups& result) {
  const std::size_t homes = input.topology.homes(input.attention);
  const std::vector<bool> left_out = validation_set(decode.rows(), options);
  bool first = true;
  for (const Transform transform : {Transform::kCountIdf, Transform::kCount, Transform::kSqrtCount}) {
    for (const PrototypeSource source : {PrototypeSource::kPredict, PrototypeSource::kDecode}) {
      Candidate candidate = make_candidate(input, transform, source);
      const Verdict verdict = judge(candidate, decode, home_of, left_out, homes);
      if (!first && verdict.similarity <= result.validation_similarity) continue;
      first = false;
      result.source = source;
      result.validation_accuracy = verdict.accuracy;
      result.validation_similarity = verdict.similarity;
      result.assigner.prototypes = signature::mean_prototypes(candidate.members, home_of, homes);
      result.assigner.space = std::move(candidate.space);
    }
  }
  result.assigner.capacities = signature::equal_shares(homes);
  result.assigner.target = signature::Target::kHome;
}

}  // namespace

Result<PatternsGroups> patterns_groups(const PatternsInput& input, const PatternsOptions& options,
                                       ThreadPool& pool) {
  const std::size_t requests = input.tokens.size();
  const std::size_t homes = input.topology.homes(input.attention);
  MOESAIC_CHECK(input.decode.requests() == requests && input.predict.requests() == requests);
  MOESAIC_CHECK(input.decode.layers == input.shape.layers.size() &&
                input.decode.experts == input.shape.experts);
  MOESAIC_CHECK(input.predict.layers == input.decode.layers && input.predict.experts == input.decode.experts);
  if (requests < homes) {
    return bad_input(
        fmt::format("Grouping by activation patterns needs at least one request a home, but there "
                    "are {} requests for {} homes; plan on more requests or fewer homes.",
                    requests, homes));
  }
  const Space plain = signature::all_layers(input.shape, Transform::kCount);
  const solve::SparseRows decode = signature::signatures(plain, input.decode);
  const std::vector<std::uint32_t> home_of = cluster_into_homes(decode, input, options, pool);

  PatternsGroups result;
  result.homes.attention = input.attention;
  for (const std::uint32_t home : home_of) result.homes.of_request.push_back(HomeId(home));
  result.home_max_over_mean = load_over_share(input.tokens, home_of, signature::equal_shares(homes));
  const auto centroids = signature::mean_prototypes(decode, home_of, homes);
  result.told = {.space = plain,
                 .prototypes = centroids,
                 .capacities = signature::equal_shares(homes),
                 .target = signature::Target::kHome};
  for (std::size_t i = 0; i < requests; ++i) {
    result.objective +=
        1 - solve::dot(decode.row(i), std::span(centroids).subspan(home_of[i] * decode.width, decode.width));
  }
  choose_assigner(input, decode, home_of, options, result);
  return result;
}

}  // namespace moesaic::grouping
