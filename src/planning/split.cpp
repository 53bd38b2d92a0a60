#include "planning/split.hpp"

#include <fmt/format.h>

#include "grouping/patterns_groups.hpp"

namespace moesaic::planning {

Result<Split> Split::make(const trace::Trace& trace, const SplitOptions& options, ThreadPool& pool) {
  const trace::RequestTable& table = trace.requests();
  const ModelShape& shape = trace.shape();
  const RequestSet scored_set =
      options.planned_on == RequestSet::kTrain ? RequestSet::kHeldout : options.planned_on;
  const std::size_t homes = options.topology.homes(options.attention);
  Split split;
  split.options_ = options;
  split.planned_ = std::make_unique<evaluate::SelectedTokens>(
      trace, evaluate::TokenChoice{
                 .requests = select_requests(table.id, table.domain, options.planned_on, options.seed),
                 .phase = options.phase,
                 .from = options.from,
                 .score_predicted = true});
  split.scored_ = std::make_unique<evaluate::SelectedTokens>(
      trace,
      evaluate::TokenChoice{.requests = select_requests(table.id, table.domain, scored_set, options.seed),
                            .phase = options.phase,
                            .from = options.from});
  if (split.planned().requests().size() < homes) {
    return bad_input(
        fmt::format("{}: {} requests to plan on (--requests {}), expected at least one a home, {}; "
                    "import a longer trace or plan for fewer GPUs.",
                    trace.path(), split.planned().requests().size(), name(options.planned_on), homes));
  }
  if (split.planned().scored_tokens() == 0 || split.scored().scored_tokens() == 0) {
    return bad_input(
        fmt::format("{}: no {} tokens to plan on and score; see `moesaic info`, or give --phase and "
                    "--predict-from.",
                    trace.path(), name(options.phase)));
  }
  MOESAIC_ASSIGN(const std::vector<float> predict, split.planned().usage(evaluate::Part::kPredict, pool));
  MOESAIC_ASSIGN(const std::vector<float> decode, split.planned().usage(evaluate::Part::kScore, pool));
  std::vector<std::int64_t> tokens;
  for (const std::uint64_t count : split.planned().scored_per_request()) {
    tokens.push_back(static_cast<std::int64_t>(count));
  }
  const auto view = [&](const std::vector<float>& values) {
    return signature::CountsView{.layers = shape.layers.size(), .experts = shape.experts, .values = values};
  };
  MOESAIC_ASSIGN(grouping::PatternsGroups groups, grouping::patterns_groups({.shape = shape,
                                                                             .predict = view(predict),
                                                                             .decode = view(decode),
                                                                             .tokens = tokens,
                                                                             .topology = options.topology,
                                                                             .attention = options.attention},
                                                                            {.seed = options.seed}, pool));
  split.planned_homes_ = std::move(groups.homes);
  split.assigner_ = std::move(groups.assigner);
  MOESAIC_ASSIGN(split.scored_homes_,
                 evaluate::unseen_homes(split.scored(), split.assigner_, options.topology, options.attention,
                                        options.unseen, pool));
  MOESAIC_ASSIGN(split.loads_, split.planned().loads(pool));
  return split;
}

}  // namespace moesaic::planning
