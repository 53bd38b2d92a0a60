#include "evaluate/unseen_homes.hpp"

#include <numeric>

#include "core/check.hpp"
#include "grouping/offline_homes.hpp"

namespace moesaic::evaluate {

namespace {

struct Scored {
  std::vector<double> scores;        ///< [requests, homes]
  std::vector<std::int64_t> tokens;  ///< what each request weighs in truth
};

Result<Scored> score_requests(const SelectedTokens& tokens, const signature::Assigner& assigner,
                              const Topology& topology, Attention attention, Part part, ThreadPool& pool) {
  MOESAIC_CHECK(assigner.targets() == topology.homes(attention));
  const ModelShape& shape = tokens.source().shape();
  MOESAIC_ASSIGN(const std::vector<float> usage, tokens.usage(part, pool));
  Scored scored;
  scored.scores =
      signature::scores(assigner, {.layers = shape.layers.size(), .experts = shape.experts, .values = usage});
  for (const std::uint64_t count : tokens.scored_per_request()) {
    scored.tokens.push_back(static_cast<std::int64_t>(count));
  }
  return scored;
}

}  // namespace

Result<Homes> unseen_homes(const SelectedTokens& tokens, const signature::Assigner& assigner,
                           const Topology& topology, Attention attention, const UnseenOptions& options,
                           ThreadPool& pool) {
  const Part part = options.mode == grouping::AssignMode::kTold ? Part::kScore : Part::kPredict;
  MOESAIC_ASSIGN(const Scored scored, score_requests(tokens, assigner, topology, attention, part, pool));
  const std::vector<std::int64_t> weight(scored.tokens.size(), 1);
  std::vector<std::uint32_t> order(scored.tokens.size());  // requests() is in arrival order
  std::iota(order.begin(), order.end(), 0u);
  return grouping::online_homes(
             scored.scores, assigner.capacities, weight, scored.tokens, order,
             {.mode = options.mode, .attention = attention, .epsilon = options.slack, .seed = options.seed})
      .homes;
}

Result<Homes> offline_homes(const SelectedTokens& tokens, const signature::Assigner& assigner,
                            const Topology& topology, Attention attention, double slack, ThreadPool& pool) {
  MOESAIC_ASSIGN(const Scored scored,
                 score_requests(tokens, assigner, topology, attention, Part::kPredict, pool));
  return grouping::offline_homes(scored.scores, assigner.capacities, scored.tokens,
                                 {.attention = attention, .epsilon = slack})
      .homes;
}

}  // namespace moesaic::evaluate
