// Groups of requests by expert activation patterns (arXiv:2604.23150, section 4.1): cluster past requests by
// what their decode activated, and learn to tell the clusters from what is known when a request arrives.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/homes.hpp"
#include "core/model_shape.hpp"
#include "core/result.hpp"
#include "core/thread_pool.hpp"
#include "core/topology.hpp"
#include "signature/assigner.hpp"

namespace moesaic::grouping {

/// What the prototypes of the homes are means of.
enum class PrototypeSource {
  kPredict,  ///< signatures of the tokens predicted from
  kDecode,   ///< signatures of the scored tokens
};

struct PatternsInput {
  ModelShape shape{};
  signature::CountsView predict;         ///< [N, L, E] over the tokens that homes are predicted from
  signature::CountsView decode;          ///< [N, L, E] over the scored tokens
  std::span<const std::int64_t> tokens;  ///< [N] scored tokens: the weight of a request
  Topology topology{};
  Attention attention = Attention::kDataParallel;
};

struct PatternsOptions {
  std::uint64_t seed = 0;
  std::size_t starts = 8;     ///< k-means++ starts of each clustering
  double token_slack = 0.02;  ///< homes and nodes hold at most (1 + this) * the mean tokens, where possible
  double validation_share = 0.2;  ///< of the requests, to choose the assigner's transform and prototypes on
};

struct PatternsGroups {
  Homes homes;                   ///< of the N requests
  signature::Assigner assigner;  ///< for requests yet unseen
  signature::Assigner told;      ///< for requests whose decode is known: the centroids of the homes
  PrototypeSource source = PrototypeSource::kPredict;
  double home_max_over_mean = 1;     ///< tokens
  double objective = 0;              ///< sum of 1 - cosine(decode vector, centroid of its home)
  double validation_accuracy = 0;    ///< requests left out whose home the assigner finds
  double validation_similarity = 0;  ///< their mean cosine to the centroid of the home it finds
};

/// Balanced K-means of the unit decode vectors into nodes, then of each node's members into its homes
/// (attention dp; with tp a node is a home); each followed by the token repair of token_balance.hpp.
/// The assigner's transform (count, count_idf, sqrt_count) and prototype source are those with the highest
/// validation_similarity on requests left out of the prototypes; they are then fitted on all requests.
/// Deterministic at any thread count. Heuristic. O(iterations * nonzeros * homes).
/// Errors (bad input): no requests; fewer requests than homes.
Result<PatternsGroups> patterns_groups(const PatternsInput& input, const PatternsOptions& options,
                                       ThreadPool& pool);

}  // namespace moesaic::grouping
