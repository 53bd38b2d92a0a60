#include "profile/summaries.hpp"

#include <cmath>
#include "profile/statistics.hpp"

namespace moesaic::profile {
namespace {

/// Mean over items of what `figure` takes from each.
template <class Items, class Figure>
double mean_of(const Items& items, Figure figure) {
  std::vector<double> values;
  for (const auto& item : items) values.push_back(figure(item));
  return mean(values);
}

Spread mean_spread(const std::vector<Spread>& spreads) {
  Spread out;
  for (const Spread& s : spreads) out.rows += s.rows;
  out.max_over_mean = mean_of(spreads, [](const Spread& s) { return s.max_over_mean; });
  out.gini = mean_of(spreads, [](const Spread& s) { return s.gini; });
  out.cv = mean_of(spreads, [](const Spread& s) { return s.cv; });
  out.entropy = mean_of(spreads, [](const Spread& s) { return s.entropy; });
  out.hottest_share = mean_of(spreads, [](const Spread& s) { return s.hottest_share; });
  const auto whole = [&](auto member) {
    return static_cast<std::size_t>(
        mean_of(spreads, [&](const Spread& s) { return static_cast<double>(s.*member); }));
  };
  if (spreads.empty()) return out;
  out.hot = whole(&Spread::hot);
  out.cold = whole(&Spread::cold);
  out.unused = whole(&Spread::unused);
  return out;
}

StepFigure mean_figure(const std::vector<LayerProfile>& layers,
                       std::vector<StepFigure> LayerProfile::* member, std::size_t schedule) {
  const auto over = [&](double StepFigure::* figure) {
    return mean_of(layers, [&](const LayerProfile& layer) { return (layer.*member)[schedule].*figure; });
  };
  return {.steps = (layers.front().*member)[schedule].steps,
          .max_over_mean = over(&StepFigure::max_over_mean),
          .max_over_mean_p95 = over(&StepFigure::max_over_mean_p95),
          .max_over_mean_independent = over(&StepFigure::max_over_mean_independent),
          .distinct = over(&StepFigure::distinct),
          .distinct_p95 = over(&StepFigure::distinct_p95),
          .distinct_independent = over(&StepFigure::distinct_independent)};
}

RequestCorrelation distribution(const std::vector<LayerProfile>& layers, std::size_t requests,
                                std::vector<double> Correlation::* member) {
  std::vector<double> of_request;
  for (std::size_t r = 0; r < requests; ++r)
    of_request.push_back(
        mean_of(layers, [&](const LayerProfile& layer) { return (layer.correlation.*member)[r]; }));
  return {mean(of_request), quantile(of_request, 0.1), quantile(of_request, 0.5), quantile(of_request, 0.9)};
}

}  // namespace

std::string phase_name(std::size_t phase_row) {
  return phase_row == kPrefillRow ? "prefill" : phase_row == kDecodeRow ? "decode" : "all";
}

PhaseFigures phase_figures(std::size_t phase_row, Loads loads) {
  PhaseFigures out;
  out.phase = phase_name(phase_row);
  for (std::size_t l = 0; l < loads.layers; ++l) {
    out.layers.push_back(spread(loads.of_all_kinds(l)));
  }
  for (std::size_t d = 0; d < loads.kinds; ++d) {
    std::vector<Spread> of_domain;
    for (std::size_t l = 0; l < loads.layers; ++l) of_domain.push_back(spread(loads.at(l, d)));
    out.domains.push_back(mean_spread(of_domain));
  }
  out.average = mean_spread(out.layers);
  out.rows = out.average.rows;
  out.loads = std::move(loads);
  return out;
}

StepsOfBatch mean_steps(const std::vector<LayerProfile>& layers, std::size_t schedule, std::size_t batch) {
  return {.batch = batch,
          .mixed = mean_figure(layers, &LayerProfile::steps, schedule),
          .same_kind = mean_figure(layers, &LayerProfile::same_kind_steps, schedule)};
}

Correlations no_correlations() {
  Correlations out;
  out.pooled_pearson = out.pooled_spearman = kNothing;
  out.pearson = out.spearman = {kNothing, kNothing, kNothing, kNothing};
  return out;
}

Correlations correlations(const std::vector<LayerProfile>& layers, const Walk& walk) {
  if (walk.correlated == 0) return no_correlations();
  Correlations out;
  out.requests = walk.correlated;
  out.stand_in = walk.stand_in;
  for (const LayerProfile& layer : layers) {
    out.layer_pearson.push_back(layer.correlation.pooled_pearson);
    out.layer_spearman.push_back(layer.correlation.pooled_spearman);
  }
  out.pooled_pearson = mean(out.layer_pearson);
  out.pooled_spearman = mean(out.layer_spearman);
  out.pearson = distribution(layers, walk.correlated, &Correlation::request_pearson);
  out.spearman = distribution(layers, walk.correlated, &Correlation::request_spearman);
  for (std::size_t i = 0; i < kSharpenings; ++i) {
    Sharpening at;
    for (const LayerProfile& layer : layers)
      at.requests = std::max(at.requests, layer.correlation.after[i].requests);
    at.pearson =
        mean_of(layers, [&](const LayerProfile& layer) { return layer.correlation.after[i].pearson; });
    if (at.requests > 0) out.after.push_back(at);
  }
  return out;
}

Structure no_structure() {
  Structure out;
  out.reuse = out.reuse_per_request = out.reuse_independent = out.first_uses = kNothing;
  out.mean_lift = out.uniform_lift = out.followed = out.followed_independent = out.information_bits =
      kNothing;
  return out;
}

Structure structure(const std::vector<LayerProfile>& layers) {
  Structure out = no_structure();
  std::uint64_t rows = 0, first = 0;
  out.gaps.assign(kGapBuckets, 0);
  for (const LayerProfile& layer : layers) {
    out.reuse_by_layer.push_back(layer.reuse.pooled);
    rows += layer.reuse.rows;
    first += layer.reuse.first_uses;
    for (std::size_t i = 0; i < kGapBuckets; ++i) out.gaps[i] += static_cast<double>(layer.reuse.gaps[i]);
    if (layer.together.tokens > 0) out.together.push_back(layer.together);
    if (layer.next.tokens > 0) out.next.push_back(layer.next);
  }
  for (double& gap : out.gaps) gap = rows > 0 ? gap / static_cast<double>(rows) : kNothing;
  out.first_uses = rows > 0 ? static_cast<double>(first) / static_cast<double>(rows) : kNothing;
  out.reuse = mean(out.reuse_by_layer);
  out.reuse_per_request = mean_of(layers, [](const LayerProfile& l) { return l.reuse.per_request; });
  out.reuse_independent = mean_of(layers, [](const LayerProfile& l) { return l.reuse.independent; });
  out.mean_lift = mean_of(out.together, [](const CoActivation& c) { return c.mean_lift; });
  out.uniform_lift = mean_of(out.together, [](const CoActivation& c) { return c.uniform_lift; });
  out.followed = mean_of(out.next, [](const Affinity& a) { return a.followed; });
  out.followed_independent = mean_of(out.next, [](const Affinity& a) { return a.followed_independent; });
  out.information_bits = mean_of(out.next, [](const Affinity& a) { return a.information_bits; });
  const std::size_t n = layers.size();
  if (layers.front().request_cosines.size() < 3) return out;
  out.layer_similarity.assign(n * n, 1);
  std::vector<std::vector<double>> cosines;
  for (const LayerProfile& layer : layers)
    cosines.emplace_back(layer.request_cosines.begin(), layer.request_cosines.end());
  for (std::size_t a = 0; a < n; ++a) {
    for (std::size_t b = a + 1; b < n; ++b)
      out.layer_similarity[a * n + b] = out.layer_similarity[b * n + a] = pearson(cosines[a], cosines[b]);
  }
  return out;
}

Grouping grouping(const std::vector<LayerProfile>& layers, const PassPlan& plan, std::size_t experts) {
  Grouping out{.nodes = plan.groups, .random = kNothing, .steps = {}};
  if (plan.groups == 0) return out;
  out.random = 1 - 1 / static_cast<double>(plan.groups);
  const std::size_t half = plan.groups * experts;
  for (std::size_t c = 0; c < plan.capacities.size(); ++c) {
    GroupGain step{.extra = kReplicaShares[c], .capacity = plan.capacities[c]};
    std::vector<double> bound, group_bound, reached;
    for (const LayerProfile& layer : layers) {
      bound.push_back(layer.own.rows > 0 ? 1 - layer.own.kept[c] / layer.own.rows : kNothing);
      const auto first = std::span(layer.group_loads).first(half),
                 second = std::span(layer.group_loads).last(half);
      std::vector<double> all(half);
      for (std::size_t i = 0; i < half; ++i) all[i] = first[i] + second[i];
      group_bound.push_back(group_gain(all, all, plan.groups, plan.capacities[c]).group_bound);
      reached.push_back(group_gain(first, second, plan.groups, plan.capacities[c]).reached);
      reached.push_back(group_gain(second, first, plan.groups, plan.capacities[c]).reached);
    }
    step.bound = mean(bound);
    step.group_bound = mean(group_bound);
    step.held_out = mean(reached);
    out.steps.push_back(step);
  }
  return out;
}

void say_what_is_missing(const Walk& walk, Profile& out) {
  if (walk.phase == Phase::kPrefill)
    out.cannot.emplace_back(
        "The trace holds no decode: steps, reuse and structure are those of prefill tokens.");
  if (walk.stand_in && out.correlation.requests > 0)
    out.cannot.emplace_back(
        "The trace holds no prefill: the first third of each decode, at most 48 tokens, stands in for it.");
  if (out.correlation.requests == 0)
    out.cannot.emplace_back("How the prefill predicts the decode cannot be told: no request has both.");
  if (out.steps.empty() || out.steps.front().mixed.steps == 0)
    out.cannot.emplace_back(
        "What a step sees cannot be told: there are fewer requests than the smallest batch.");
  if (out.structure.together.empty())
    out.cannot.emplace_back(
        "Co-activation cannot be told: a token chooses one expert, or experts are too many.");
  if (out.clusters.count == 0)
    out.cannot.emplace_back(
        "Clusters of requests, and what grouping gains, cannot be told: too few requests.");
  if (!out.arrivals)
    out.cannot.emplace_back(
        "Requests carry no arrival times: windows follow the store's order, so drift is that of the order.");
}

}  // namespace moesaic::profile
