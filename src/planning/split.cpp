#include "planning/split.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "grouping/patterns_groups.hpp"

namespace moesaic::planning {
namespace {

std::vector<std::uint32_t> requests_of(const trace::RequestTable& table, const SplitOptions& options,
                                       RequestSet set, const std::vector<std::uint16_t>& domains) {
  std::vector<std::uint32_t> rows = select_requests(table.id, table.domain, set, options.seed);
  std::erase_if(rows, [&](std::uint32_t r) { return std::ranges::binary_search(options.left_out, r); });
  if (!domains.empty()) {
    std::erase_if(
        rows, [&](std::uint32_t r) { return std::ranges::find(domains, table.domain[r]) == domains.end(); });
  }
  return rows;
}

}  // namespace

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
                 .requests = thinned(requests_of(table, options, options.planned_on, options.domains),
                                     table.id, table.domain, options.seed, options.learn_share),
                 .phase = options.phase,
                 .from = options.from,
                 .score_predicted = true});
  split.scored_ = std::make_unique<evaluate::SelectedTokens>(
      trace,
      evaluate::TokenChoice{
          .requests = requests_of(table, options, scored_set,
                                  options.scored_domains.empty() ? options.domains : options.scored_domains),
          .phase = options.phase,
          .from = options.from});
  if (split.planned().requests().size() < homes) {
    return bad_input(fmt::format(
        "{}: {} requests to plan on (--requests {}{}), expected at least one a home, {}; "
        "import a longer trace or plan for fewer GPUs.",
        trace.path(), split.planned().requests().size(), name(options.planned_on),
        options.learn_share < 1 ? fmt::format(" --learn-share {}", options.learn_share) : "", homes));
  }
  if (split.planned().scored_tokens() == 0 || split.scored().scored_tokens() == 0) {
    return bad_input(
        fmt::format("{}: no {} tokens to plan on and score; see `moesaic info`, or give --phase and "
                    "--predict-from.",
                    trace.path(), name(options.phase)));
  }
  signature::Assigner of_unseen;
  if (options.assigner != nullptr) {
    if (options.unseen.mode == grouping::AssignMode::kTold) {
      return bad_input(
          "--assign told: an oracle that `moesaic compare` alone gives; it has no assigner of a plan.");
    }
    split.assigner_ = *options.assigner;
    MOESAIC_TRY(signature::bind(split.assigner_.space, shape));
    MOESAIC_ASSIGN(split.planned_homes_,
                   evaluate::unseen_homes(split.planned(), split.assigner_, options.topology,
                                          options.attention, options.unseen, pool));
    of_unseen = split.assigner_;
  } else {
    MOESAIC_ASSIGN(of_unseen, split.group(pool));
  }
  MOESAIC_ASSIGN(split.scored_homes_, evaluate::unseen_homes(split.scored(), of_unseen, options.topology,
                                                             options.attention, options.unseen, pool));
  MOESAIC_ASSIGN(split.loads_, split.planned().loads(pool));
  return split;
}

Result<signature::Assigner> Split::group(ThreadPool& pool) {
  const ModelShape& shape = planned().source().shape();
  MOESAIC_ASSIGN(const std::vector<float> predict, planned().usage(evaluate::Part::kPredict, pool));
  MOESAIC_ASSIGN(const std::vector<float> decode, planned().usage(evaluate::Part::kScore, pool));
  std::vector<std::int64_t> tokens;
  for (const std::uint64_t count : planned().scored_per_request()) {
    tokens.push_back(static_cast<std::int64_t>(count));
  }
  const auto view = [&](const std::vector<float>& values) {
    return signature::CountsView{.layers = shape.layers.size(), .experts = shape.experts, .values = values};
  };
  MOESAIC_ASSIGN(grouping::PatternsGroups groups, grouping::patterns_groups({.shape = shape,
                                                                             .predict = view(predict),
                                                                             .decode = view(decode),
                                                                             .tokens = tokens,
                                                                             .topology = options_.topology,
                                                                             .attention = options_.attention},
                                                                            {.seed = options_.seed}, pool));
  planned_homes_ = std::move(groups.homes);
  assigner_ = std::move(groups.assigner);
  return options_.unseen.mode == grouping::AssignMode::kTold ? std::move(groups.told) : assigner_;
}

}  // namespace moesaic::planning
