#include "planning/robust.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "placement/moesaic_layer.hpp"

namespace moesaic::planning {
namespace {

/// How fast weights follow values: a part that costs 10 % of the largest value more than another gains about
/// a fifth on it each round.
constexpr double kRate = 2;
/// What the most heavily weighted tokens count.
constexpr double kMostWeight = 64;

/// Weights of parts, which sum to 1, as whole weights of each planned request's tokens.
std::vector<std::uint32_t> token_weights(const Split& split, const Parts& parts,
                                         const std::vector<double>& weights) {
  const std::vector<std::uint64_t> tokens = split.planned().scored_per_request();
  std::vector<double> of_part(parts.size());
  for (std::size_t i = 0; i < tokens.size(); ++i) of_part[parts.planned[i]] += static_cast<double>(tokens[i]);
  for (std::size_t p = 0; p < of_part.size(); ++p) of_part[p] = weights[p] / std::max(1.0, of_part[p]);
  const double most = std::ranges::max(of_part);
  std::vector<std::uint32_t> result;
  for (const std::uint16_t part : parts.planned) {
    result.push_back(
        static_cast<std::uint32_t>(std::max(1.0, std::round(kMostWeight * of_part[part] / most))));
  }
  return result;
}

/// What parts weigh in a plan that knows of none.
std::vector<double> token_shares(const Split& split, const Parts& parts) {
  std::vector<double> shares(parts.size());
  const std::vector<std::uint64_t> tokens = split.planned().scored_per_request();
  const auto all = static_cast<double>(split.planned().scored_tokens());
  for (std::size_t i = 0; i < tokens.size(); ++i)
    shares[parts.planned[i]] += static_cast<double>(tokens[i]) / all;
  return shares;
}

Result<PartScores> scores_of(const Split& split, const Parts& parts, const Placement& placement,
                             const evaluate::ScoreOptions& score, ThreadPool& pool) {
  const Placement* const one[] = {&placement};
  MOESAIC_ASSIGN(auto planned, evaluate::score_parts(split.planned(), split.planned_homes(), parts.planned,
                                                     parts.size(), one, score, pool));
  MOESAIC_ASSIGN(auto scored, evaluate::score_parts(split.scored(), split.scored_homes(), parts.scored,
                                                    parts.size(), one, score, pool));
  return PartScores{.planned = std::move(planned[0]), .scored = std::move(scored[0])};
}

Result<std::vector<double>> start_weights(const RobustOptions& robust, std::size_t parts) {
  std::vector<double> weights = robust.weights;
  if (weights.empty()) weights.assign(parts, 1);
  if (weights.size() != parts) {
    return bad_input(fmt::format("--robust-weights: found {} weights for {} parts.", weights.size(), parts));
  }
  for (const double weight : weights) {
    if (!(weight > 0) || !std::isfinite(weight)) {
      return bad_input(fmt::format("--robust-weights: found {}, expected numbers above 0.", weight));
    }
  }
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  for (double& weight : weights) weight /= sum;
  return weights;
}

/// Weights of the next round: parts of larger value gain.
void follow(const std::vector<double>& values, std::vector<double>& weights) {
  const double most = std::max(1e-12, std::ranges::max(values));
  double sum = 0;
  for (std::size_t p = 0; p < weights.size(); ++p) {
    weights[p] *= std::exp(kRate * (values[p] / most - 1));
    sum += weights[p];
  }
  for (double& weight : weights) weight /= sum;
}

}  // namespace

double part_value(const evaluate::Score& score, const Topology& topology, std::size_t top_k, double limit,
                  bool per_expert) {
  const double copies = (per_expert ? score.per_expert : score.dedup).node_copies_per_token_layer;
  const auto rows = static_cast<double>(top_k);  // a token
  const double nodes =
      std::max(0.0, score.node_max_over_mean - limit) * rows / static_cast<double>(topology.nodes);
  const double gpus =
      std::max(0.0, score.gpu_max_over_mean - limit) * rows / static_cast<double>(topology.gpus());
  return copies + nodes + gpus;
}

Result<RobustPlan> robust_plan(const Split& split, const Parts& parts, const PlaceOptions& options,
                               const RobustOptions& robust, const evaluate::ScoreOptions& score,
                               ThreadPool& pool) {
  MOESAIC_ASSIGN(const placement::Algorithm* const algorithm, placement::find_algorithm(options.algorithm));
  if (!algorithm->weighs_tokens()) {
    return bad_input(fmt::format("--robust: --algorithm {} cannot weigh parts of the traffic; use moesaic.",
                                 algorithm->name()));
  }
  MOESAIC_ASSIGN(std::vector<double> weights, start_weights(robust, parts.size()));
  MOESAIC_ASSIGN(const placement::Solution plain, place(split, options, pool));
  RobustPlan best{.solution = plain, .weights = token_shares(split, parts), .plain = {}, .robust = {}};
  MOESAIC_ASSIGN(best.plain, scores_of(split, parts, plain.placement, score, pool));
  best.robust = best.plain;

  const double limit = options.max_imbalance > 0 ? options.max_imbalance : placement::kDefaultImbalance;
  PlaceOptions told = options;
  told.max_imbalance = limit;  // a plan without one shares a budget over layers, which knows of no weights
  const auto values_of = [&](const PartScores& scores) {
    std::vector<double> values;
    for (const evaluate::Score& part : scores.planned) {
      values.push_back(part_value(part, split.options().topology, split.planned().source().shape().top_k,
                                  limit, options.per_expert));
    }
    return values;
  };
  const bool mean = robust.goal == RobustGoal::kMean;
  double best_worst =
      mean ? std::numeric_limits<double>::infinity() : std::ranges::max(values_of(best.plain));
  for (std::size_t round = 1; round <= (mean ? 1 : robust.rounds); ++round) {
    MOESAIC_ASSIGN(placement::Solution solution,
                   place_weighted(split, token_weights(split, parts, weights), told, pool));
    MOESAIC_ASSIGN(PartScores scores, scores_of(split, parts, solution.placement, score, pool));
    const std::vector<double> values = values_of(scores);
    if (const double worst = std::ranges::max(values); worst < best_worst) {
      best_worst = worst;
      best.solution = std::move(solution);
      best.weights = weights;
      best.round = round;
      best.robust = std::move(scores);
    }
    follow(values, weights);
  }
  // Bounds that the search found are of weighted tokens: nothing that a reader could check.
  best.solution.proof = placement::Proof::kHeuristic;
  best.solution.notes.clear();
  return best;
}

}  // namespace moesaic::planning
