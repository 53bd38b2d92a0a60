#include "evaluate/unseen_homes.hpp"

#include <numeric>

#include "core/check.hpp"

namespace moesaic::evaluate {

Result<Homes> unseen_homes(const SelectedTokens& tokens, const signature::Assigner& assigner,
                           const Topology& topology, Attention attention, const UnseenOptions& options,
                           ThreadPool& pool) {
  MOESAIC_CHECK(assigner.targets() == topology.homes(attention));
  const ModelShape& shape = tokens.source().shape();
  MOESAIC_ASSIGN(const std::vector<float> usage, tokens.usage(Part::kPredict, pool));
  const std::vector<double> scores =
      signature::scores(assigner, {.layers = shape.layers.size(), .experts = shape.experts, .values = usage});
  const std::size_t n = tokens.requests().size();
  std::vector<std::int64_t> weight(n, 1), truth;
  for (const std::uint64_t count : tokens.scored_per_request()) truth.push_back(static_cast<std::int64_t>(count));
  std::vector<std::uint32_t> order(n);  // requests() is in arrival order
  std::iota(order.begin(), order.end(), 0u);
  return grouping::online_homes(scores, assigner.capacities, weight, truth, order,
                                {.mode = options.mode,
                                 .attention = attention,
                                 .epsilon = options.slack,
                                 .seed = options.seed})
      .homes;
}

}  // namespace moesaic::evaluate
