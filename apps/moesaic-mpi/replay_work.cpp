#include "replay_work.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "comm/parcel.hpp"
#include "core/selection.hpp"
#include "evaluate/selected_tokens.hpp"
#include "evaluate/unseen_homes.hpp"
#include "grouping/micro_batches.hpp"
#include "grouping/online_homes.hpp"
#include "signature/prediction.hpp"
#include "traffic/score.hpp"

namespace moesaic::app {
namespace {

/// Homes of tokens.requests(). Without an assigner (a plan from counts) requests are dealt out by balance.
Result<Homes> homes_of(const artifact::Plan& plan, const evaluate::SelectedTokens& tokens,
                       const ReplayChoice& choice, std::vector<std::string>& said) {
  const Topology& topology = plan.placement.topology();
  MOESAIC_ASSIGN(const grouping::AssignMode mode, grouping::parse_assign_mode(choice.assign));
  if (!plan.assigner) {
    said.push_back(
        "The plan was made from counts and has no homes for requests: they are dealt out in turn.");
    Homes homes{.attention = plan.attention, .of_request = {}};
    for (std::size_t i = 0; i < tokens.requests().size(); ++i) {
      homes.of_request.push_back(HomeId(static_cast<std::uint32_t>(i % topology.homes(plan.attention))));
    }
    return homes;
  }
  signature::Assigner assigner = *plan.assigner;
  MOESAIC_TRY(signature::bind(assigner.space, tokens.source().shape()));
  ThreadPool pool(1);  // the other ranks of this machine have its other cores
  return evaluate::unseen_homes(tokens, assigner, topology, plan.attention,
                                {.mode = mode, .slack = choice.home_slack}, pool);
}

/// Which requests of a home run in step: `choice.batch_requests` at a time as they come, or those that what
/// they are predicted to activate lets share experts.
Status group_requests(const evaluate::SelectedTokens& tokens, const ReplayChoice& choice,
                      const std::vector<std::size_t>& request_of_span,
                      std::vector<replay::RequestSpan>& spans) {
  const ModelShape& shape = tokens.source().shape();
  const std::size_t cells = shape.layers.size() * shape.experts;
  const bool grouped = choice.micro_batches == "grouped";
  std::vector<float> usage;
  if (grouped) {
    ThreadPool pool(1);
    MOESAIC_ASSIGN(usage, tokens.usage(evaluate::Part::kPredict, pool));
  }
  const signature::Predictor predictor = signature::uniform_predictor(shape);
  signature::PredictionScratch scratch(predictor);
  std::map<HomeId, std::vector<std::size_t>> homes;
  for (std::size_t s = 0; s < spans.size(); ++s) homes[spans[s].home].push_back(s);
  for (const auto& [home, members] : homes) {
    std::vector<float> probabilities(grouped ? members.size() * cells : 0);
    for (std::size_t i = 0; grouped && i < members.size(); ++i) {
      const auto counts = std::span(usage).subspan(request_of_span[members[i]] * cells, cells);
      const double rows = std::accumulate(counts.begin(), counts.end(), 0.0);
      const auto seen =
          static_cast<std::size_t>(rows / static_cast<double>(shape.layers.size() * shape.top_k));
      signature::predict(predictor, counts, seen, std::span(probabilities).subspan(i * cells, cells),
                         scratch);
    }
    const auto batches =
        grouped ? grouping::micro_batches(probabilities, cells, {.requests = choice.batch_requests})
                : grouping::fifo_micro_batches(members.size(), choice.batch_requests);
    for (std::size_t b = 0; b < batches.size(); ++b) {
      for (const std::uint32_t i : batches[b]) spans[members[i]].group = static_cast<std::uint32_t>(b);
    }
  }
  return {};
}

Result<ReplayWork> choose(const artifact::Plan& plan, const trace::Trace& trace, const ReplayChoice& choice) {
  ReplayWork work;
  const bool own_trace = plan.source.trace_digest == trace.digest();
  const std::string set =
      choice.requests.value_or(own_trace && plan.source.requests == "train" ? "heldout" : "all");
  MOESAIC_ASSIGN(const RequestSet parsed, parse_request_set(set));
  evaluate::TokenChoice tokens_choice{
      .requests =
          select_requests(trace.requests().id, trace.requests().domain, parsed, plan.source.split_seed),
      .phase = plan.source.phase,
      .from = plan.source.predict_from};
  if (choice.phase) {
    MOESAIC_ASSIGN(tokens_choice.phase, parse_phase(*choice.phase));
  }
  if (choice.predict_from) {
    MOESAIC_ASSIGN(tokens_choice.from, parse_predict_from(*choice.predict_from));
  }
  if (choice.limit > 0 && choice.limit < tokens_choice.requests.size()) {
    // The first in arrival order, which is the order SelectedTokens gives.
    const evaluate::SelectedTokens all(trace, tokens_choice);
    tokens_choice.requests.assign(all.requests().begin(),
                                  all.requests().begin() + static_cast<std::ptrdiff_t>(choice.limit));
  }
  const evaluate::SelectedTokens tokens(trace, std::move(tokens_choice));
  if (tokens.scored_tokens() == 0) {
    return bad_input(
        fmt::format("{}: its {} requests have no {} tokens to replay beside those predicted from; "
                    "give --phase or --predict-from.",
                    trace.path(), set, name(tokens.choice().phase)));
  }
  MOESAIC_ASSIGN(const Homes homes, homes_of(plan, tokens, choice, work.said));
  std::vector<std::size_t> request_of_span;
  const std::vector<traffic::Segment> segments = tokens.segments(homes.of_request);
  for (std::size_t i = 0; i < segments.size(); ++i) {
    const traffic::Segment& segment = segments[i];
    if (segment.count == 0) continue;
    request_of_span.push_back(i);
    work.spans.push_back({.request = segment.request,
                          .home = segment.home,
                          .position = segment.position,
                          .store_token = trace.requests().start[segment.request] + segment.position,
                          .count = segment.count});
  }
  MOESAIC_TRY(group_requests(tokens, choice, request_of_span, work.spans));
  work.on = fmt::format("{} {} requests of {} trace", work.spans.size(), set,
                        own_trace ? "the plan's own" : "another");
  return work;
}

}  // namespace

Result<ReplayWork> replay_work(const artifact::Plan& plan, const trace::Trace& trace,
                               const ReplayChoice& choice, comm::Comm& comm) {
  Result<ReplayWork> chosen = ReplayWork{};
  if (comm.is_root()) chosen = choose(plan, trace, choice);
  MOESAIC_TRY(comm::agree(comm, chosen));
  comm::Packer out;
  out.put_span(std::span<const replay::RequestSpan>(chosen->spans));
  comm::Bytes bytes = out.take();
  MOESAIC_TRY(comm.broadcast(bytes, 0));
  chosen->spans = comm::Unpacker(bytes).get_vector<replay::RequestSpan>();
  return chosen;
}

bool PredictedBytes::holds(const replay::Report& report, std::size_t row) const {
  const replay::LayerReport& layer = report.layers[row];
  return layer.inter_node_bytes(report.topology) == inter[row] &&
         layer.intra_node_bytes(report.topology) == intra[row];
}
std::int64_t PredictedBytes::total_inter() const {
  return std::accumulate(inter.begin(), inter.end(), std::int64_t{0});
}
std::int64_t PredictedBytes::total_intra() const {
  return std::accumulate(intra.begin(), intra.end(), std::int64_t{0});
}

Result<PredictedBytes> predict_bytes(const artifact::Plan& plan, const trace::Trace& trace,
                                     const ReplayWork& work, const replay::Options& options,
                                     comm::Comm& comm) {
  const std::size_t layers = plan.shape.layers.size(), k = trace.shape().top_k;
  std::vector<traffic::Segment> segments;
  std::size_t begin = 0;
  for (const replay::RequestSpan& span : work.spans) {
    segments.push_back({.request = span.request,
                        .home = span.home,
                        .position = span.position,
                        .begin = begin,
                        .count = static_cast<std::size_t>(span.count)});
    begin += static_cast<std::size_t>(span.count);
  }
  const auto copy = static_cast<std::int64_t>(2 * replay::vector_bytes(options));  // there and back
  PredictedBytes predicted{.inter = std::vector<std::int64_t>(layers),
                           .intra = std::vector<std::int64_t>(layers)};
  std::vector<ExpertId> experts(begin * k), whole;
  const auto first = std::ranges::min(work.spans, {}, &replay::RequestSpan::store_token).store_token;
  const auto last = std::ranges::max(work.spans, {}, &replay::RequestSpan::store_token);
  const auto score = [&](std::size_t row) -> Status {
    whole.resize(static_cast<std::size_t>(last.store_token + last.count - first) * k);
    MOESAIC_TRY(trace.read_layer(row, first, last.store_token + last.count, whole));
    for (std::size_t i = 0; i < segments.size(); ++i) {
      const auto from = static_cast<std::size_t>(work.spans[i].store_token - first) * k;
      std::ranges::copy(std::span(whole).subspan(from, segments[i].count * k),
                        experts.begin() + static_cast<std::ptrdiff_t>(segments[i].begin * k));
    }
    const traffic::LayerTraffic traffic = traffic::score_layer(
        {plan.shape.layers[row], k, experts, segments}, plan.placement.topology(), plan.shape.experts,
        plan.placement.layer(row),
        {.rule = options.rule, .attention = plan.attention, .seed = options.dispatch_seed});
    const traffic::Copies& mode = options.mode == replay::Mode::kDedup ? traffic.dedup : traffic.per_expert;
    predicted.inter[row] = copy * mode.node;
    predicted.intra[row] = copy * mode.gpu;
    return {};
  };
  Status status;
  for (std::size_t row = comm.rank(); status && row < layers; row += comm.size()) status = score(row);
  MOESAIC_TRY(comm::agree(comm, status));
  MOESAIC_TRY(comm.all_sum(predicted.inter));
  MOESAIC_TRY(comm.all_sum(predicted.intra));
  return predicted;
}

}  // namespace moesaic::app
