#include "profile_page.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "profile/in_words.hpp"

namespace moesaic::app {
namespace {

using profile::Profile;
using report::Axis;
using report::Curves;
using report::HeatMap;
using report::number;
using report::PageTable;
using report::Scale;
using report::Section;
using report::Series;
using report::Table;
using report::View;

constexpr double kNothing = std::numeric_limits<double>::quiet_NaN();

std::vector<std::string> names(std::span<const std::size_t> ids) {
  std::vector<std::string> out;
  for (const std::size_t id : ids) out.push_back(std::to_string(id));
  return out;
}

std::vector<double> indexes(std::size_t n) {
  std::vector<double> out(n);
  std::iota(out.begin(), out.end(), 0.0);
  return out;
}

template <class Items, class Figure>
std::vector<double> each(const Items& items, Figure figure) {
  std::vector<double> out;
  for (const auto& item : items) out.push_back(figure(item));
  return out;
}

Axis layer_axis() { return {.name = "layer", .unit = "id"}; }
std::vector<double> layer_ids(const Profile& p) { return {p.layers.begin(), p.layers.end()}; }

/// A curve over layers.
Curves by_layer(const Profile& p, std::string title, Axis y, std::vector<Series> series,
                std::string note = {}) {
  return {.title = std::move(title),
          .note = std::move(note),
          .x = layer_axis(),
          .y = std::move(y),
          .at = layer_ids(p),
          .series = std::move(series)};
}

/// Loads over the layer's mean, [L, E], of one domain or (kind = kinds) of all.
std::vector<double> relative_loads(const profile::Loads& loads, std::size_t kind) {
  std::vector<double> out(loads.layers * loads.experts, kNothing);
  for (std::size_t l = 0; l < loads.layers; ++l) {
    std::vector<double> sum = loads.of_all_kinds(l);
    if (kind < loads.kinds) std::ranges::copy(loads.at(l, kind), sum.begin());
    const double mean = std::accumulate(sum.begin(), sum.end(), 0.0) / static_cast<double>(loads.experts);
    for (std::size_t e = 0; mean > 0 && e < loads.experts; ++e) out[l * loads.experts + e] = sum[e] / mean;
  }
  return out;
}

HeatMap load_map(const Profile& p) {
  HeatMap map{.title = "Load of every expert",
              .note = "1 is the mean of a layer; colours are logarithmic around it.",
              .rows = {.name = "layer", .unit = "id", .labels = names(p.layers)},
              .columns = {.name = "expert", .unit = "id"},
              .row_count = p.layers.size(),
              .column_count = p.experts,
              .views = {}};
  const auto add = [&](const profile::PhaseFigures& phase, std::size_t kind, const std::string& of) {
    map.views.push_back({.name = phase.phase + ", " + of,
                         .value = "load",
                         .unit = "× layer mean",
                         .scale = Scale::kRatio,
                         .values = relative_loads(phase.loads, kind)});
  };
  add(p.main(), p.domains.size(), "all domains");
  for (const auto& phase : p.phases) {
    if (phase.phase != p.main_phase) add(phase, p.domains.size(), "all domains");
  }
  for (std::size_t d = 0; p.domains.size() > 1 && d < p.domains.size(); ++d) add(p.main(), d, p.domains[d]);
  return map;
}

Section load_section(const Profile& p) {
  Section out{.title = "Load", .paragraphs = {}};
  out.paragraphs.emplace_back(
      "A row is one (token, expert) choice. The engine waits for its busiest GPU, so what counts is how far "
      "the "
      "hottest experts stand above the mean.");
  out.items.emplace_back(load_map(p));
  const auto over_layers = [&](const char* title, const Axis& y, auto member) {
    std::vector<Series> series;
    for (const auto& phase : p.phases)
      series.push_back({phase.phase, each(phase.layers, [&](const profile::Spread& s) {
                          return static_cast<double>(s.*member);
                        })});
    out.items.emplace_back(by_layer(p, title, y, std::move(series)));
  };
  over_layers("Hottest expert of a layer", {.name = "hottest load", .unit = "× layer mean"},
              &profile::Spread::max_over_mean);
  over_layers("Inequality of loads (0 = even)", {.name = "Gini", .unit = "0 to 1"}, &profile::Spread::gini);
  over_layers("Evenness (1 = even)", {.name = "normalised entropy", .unit = "0 to 1"},
              &profile::Spread::entropy);
  over_layers("Experts below a tenth of the mean", {.name = "cold experts", .unit = "experts a layer"},
              &profile::Spread::cold);
  out.items.emplace_back(
      PageTable{.title = "Loads by phase and domain", .note = "Means over layers.", .table = loads_table(p)});
  return out;
}

Section step_section(const Profile& p) {
  Section out{.title = p.main_phase == "prefill" ? "Steps" : "Decode steps", .paragraphs = {}};
  out.paragraphs.emplace_back(
      "What the tokens that run together in one step see: every distinct expert is weights to be read, and "
      "the "
      "step ends with its busiest expert. Independent: tokens that choose without regard to each other, with "
      "the same "
      "popularities.");
  std::vector<double> batches;
  std::vector<profile::StepsOfBatch> steps;
  for (const auto& s : p.steps) {
    if (s.mixed.steps == 0) continue;
    batches.push_back(static_cast<double>(s.batch));
    steps.push_back(s);
  }
  if (steps.empty()) return out;
  const auto mixed = [&](double profile::StepFigure::* m) {
    return each(steps, [&](const auto& s) { return s.mixed.*m; });
  };
  const auto same = [&](double profile::StepFigure::* m) {
    return each(steps, [&](const auto& s) { return s.same_kind.steps > 0 ? s.same_kind.*m : kNothing; });
  };
  const Axis x{.name = "step", .unit = "tokens", .labels = {}, .logarithmic = true};
  using F = profile::StepFigure;
  std::vector<Series> distinct{{"mixed requests", mixed(&F::distinct)},
                               {"independent", mixed(&F::distinct_independent), true}};
  std::vector<Series> hottest{{"mean", mixed(&F::max_over_mean)},
                              {"95th percentile", mixed(&F::max_over_mean_p95)},
                              {"independent", mixed(&F::max_over_mean_independent), true}};
  if (p.domains.size() > 1) distinct.insert(distinct.begin() + 1, {"one domain", same(&F::distinct)});
  out.items.emplace_back(Curves{.title = "Distinct experts a step",
                                .note = {},
                                .x = x,
                                .y = {.name = "distinct experts", .unit = "experts a layer"},
                                .at = batches,
                                .series = std::move(distinct)});
  out.items.emplace_back(Curves{.title = "Busiest expert of a step",
                                .note = {},
                                .x = x,
                                .y = {.name = "hottest load", .unit = "× step mean"},
                                .at = batches,
                                .series = std::move(hottest)});
  return out;
}

/// Rows and columns of a [n, n] matrix in the order of the tree.
std::vector<double> ordered(std::span<const double> values, std::span<const std::size_t> order) {
  std::vector<double> out;
  for (const std::size_t a : order) {
    for (const std::size_t b : order) out.push_back(values[a * order.size() + b]);
  }
  return out;
}

PageTable over_use_table(const Profile& p) {
  Table table({"domain", "layer", "expert", "share %", "elsewhere %", "ratio"});
  for (std::size_t d = 0; d < p.domains.size(); ++d) {
    for (const profile::OverUse& use : p.over_used[d])
      table.add({p.domains[d], std::to_string(p.layers[use.layer]), std::to_string(use.expert),
                 number(100 * use.share, 1), number(100 * use.others, 1), number(use.ratio, 1)});
  }
  return {.title = "Experts that a domain over-uses",
          .note = "Share of the domain's rows in the layer, and of all others'.",
          .table = std::move(table)};
}

PageTable tree_table(const Profile& p) {
  std::vector<std::string> name(p.domains);
  Table table({"bits", "joins", "with"});
  for (const profile::Merge& m : p.tree.merges) {
    table.add({number(m.height, 3), name[m.a], name[m.b]});
    name.push_back(name[m.a] + ", " + name[m.b]);
  }
  return {.title = "Which domains join, and when",
          .note = "Average linkage on the divergence: first the most alike.",
          .table = std::move(table)};
}

Section domain_section(const Profile& p) {
  Section out{.title = p.domains.size() > 1 ? "Domains" : "Kinds of requests", .paragraphs = {}};
  const std::size_t n = p.domains.size();
  if (n > 1) {
    std::vector<std::string> labels;
    for (const std::size_t d : p.tree.order) labels.push_back(p.domains[d]);
    out.items.emplace_back(HeatMap{.title = "How domains differ",
                                   .note = "Means over layers; rows in the order of the tree below.",
                                   .rows = {.name = "domain", .unit = "", .labels = labels},
                                   .columns = {.name = "domain", .unit = "", .labels = labels},
                                   .row_count = n,
                                   .column_count = n,
                                   .views = {{.name = "divergence",
                                              .value = "Jensen-Shannon divergence",
                                              .unit = "bits",
                                              .scale = Scale::kSequential,
                                              .values = ordered(p.between.jensen_shannon_bits, p.tree.order)},
                                             {.name = "cosine",
                                              .value = "cosine of the loads",
                                              .unit = "0 to 1",
                                              .scale = Scale::kUnit,
                                              .values = ordered(p.between.cosine, p.tree.order)}}});
    out.items.emplace_back(tree_table(p));
    out.items.emplace_back(Curves{.title = "Tokens of each domain",
                                  .note = {},
                                  .x = {.name = "domain", .unit = "", .labels = p.domains},
                                  .y = {.name = "tokens", .unit = "tokens"},
                                  .at = indexes(n),
                                  .series = {{"tokens", p.domain_tokens}},
                                  .bars = true});
    out.items.emplace_back(by_layer(
        p, "Experts busy in every domain", {.name = "generic experts", .unit = "experts a layer"},
        {{"generic", each(p.generic.experts, [](const auto& e) { return static_cast<double>(e.size()); })}},
        "In the busiest quarter of every domain."));
    out.items.emplace_back(over_use_table(p));
  }
  if (p.clusters.count > 0) {
    std::vector<std::string> kinds;
    for (std::size_t c = 0; c < p.clusters.count; ++c) kinds.push_back("kind " + std::to_string(c + 1));
    out.items.emplace_back(Curves{
        .title = "Kinds of requests found without labels",
        .note = "Spherical K-means on what experts requests use.",
        .x = {.name = "kind", .unit = "", .labels = kinds},
        .y = {.name = "requests", .unit = "sampled requests"},
        .at = indexes(kinds.size()),
        .series = {{"requests", std::vector<double>(p.clusters.sizes.begin(), p.clusters.sizes.end())}},
        .bars = true});
    if (n > 1) {
      std::vector<double> shares = p.clusters.by_domain;
      for (std::size_t c = 0; c < p.clusters.count; ++c) {
        for (std::size_t d = 0; d < n; ++d)
          shares[c * n + d] *= 100 / static_cast<double>(p.clusters.sizes[c]);
      }
      out.items.emplace_back(HeatMap{.title = "What the kinds are",
                                     .note = {},
                                     .rows = {.name = "kind", .unit = "", .labels = kinds},
                                     .columns = {.name = "domain", .unit = "", .labels = p.domains},
                                     .row_count = p.clusters.count,
                                     .column_count = n,
                                     .views = {{.name = "share",
                                                .value = "share of the kind's requests",
                                                .unit = "%",
                                                .scale = Scale::kSequential,
                                                .values = std::move(shares)}}});
    }
  }
  return out;
}

Section prefill_section(const Profile& p) {
  const profile::Correlations& c = p.correlation;
  Section out{.title = "Prefill and decode", .paragraphs = {}};
  if (c.requests == 0) return out;
  out.items.emplace_back(by_layer(p, "Loads of prefill and decode, pooled",
                                  {.name = "correlation", .unit = "−1 to 1"},
                                  {{"Pearson", c.layer_pearson}, {"Spearman", c.layer_spearman}}));
  std::vector<double> tokens;
  for (std::size_t i = 0; i < c.after.size(); ++i) tokens.push_back(std::ldexp(1.0, static_cast<int>(i)));
  out.items.emplace_back(
      Curves{.title = "How fast the picture sharpens",
             .note = "Requests whose prefill is long enough; long ones may be of other domains.",
             .x = {.name = "prefill seen", .unit = "tokens", .labels = {}, .logarithmic = true},
             .y = {.name = "Pearson with the decode", .unit = "−1 to 1"},
             .at = tokens,
             .series = {{"Pearson", each(c.after, [](const auto& a) { return a.pearson; })}}});
  Table table({"of a request, mean over layers", "mean", "10 % below", "median", "10 % above"});
  for (const auto& [name, r] : {std::pair{"Pearson", c.pearson}, std::pair{"Spearman", c.spearman}})
    table.add({name, number(r.mean, 3), number(r.p10, 3), number(r.p50, 3), number(r.p90, 3)});
  out.items.emplace_back(PageTable{.title = "Distribution over requests",
                                   .note = fmt::format("{} requests.", c.requests),
                                   .table = std::move(table)});
  return out;
}

Section time_section(const Profile& p) {
  Section out{.title = "Time", .paragraphs = {}};
  if (p.windows < 2) return out;
  out.paragraphs.emplace_back(
      p.arrivals ? "Windows of equal tokens in order of arrival (of a counts trace: its own)."
                 : "Windows of equal tokens in the order of the trace: there are no arrival times.");
  std::vector<std::string> labels;
  for (std::size_t w = 0; w < p.windows; ++w) labels.push_back(std::to_string(w + 1));
  out.items.emplace_back(HeatMap{.title = "How windows differ",
                                 .note = {},
                                 .rows = {.name = "window", .unit = "", .labels = labels},
                                 .columns = {.name = "window", .unit = "", .labels = labels},
                                 .row_count = p.windows,
                                 .column_count = p.windows,
                                 .views = {{.name = "divergence",
                                            .value = "Jensen-Shannon divergence",
                                            .unit = "bits",
                                            .scale = Scale::kSequential,
                                            .values = p.drift.between}}});
  std::vector<double> lags = indexes(p.drift.by_lag.size());
  for (double& lag : lags) ++lag;
  const std::string half =
      std::isnan(p.drift.half_life)
          ? ""
          : fmt::format("Half of the largest is reached after {} windows.", number(p.drift.half_life, 2));
  out.items.emplace_back(Curves{.title = "Drift",
                                .note = half,
                                .x = {.name = "distance", .unit = "windows"},
                                .y = {.name = "Jensen-Shannon divergence", .unit = "bits"},
                                .at = lags,
                                .series = {{"divergence", p.drift.by_lag}}});
  std::vector<double> next = indexes(p.drift.next.size());
  for (double& w : next) w += 2;
  const auto of = [&](double profile::NextWindow::* m) {
    return each(p.drift.next, [&](const auto& n) { return n.*m; });
  };
  out.items.emplace_back(Curves{.title = fmt::format("A plan on the next window, {} GPUs", p.drift.gpus),
                                .note = {},
                                .x = {.name = "window", .unit = "number"},
                                .y = {.name = "busiest GPU", .unit = "× mean"},
                                .at = next,
                                .series = {{"plan of the window before", of(&profile::NextWindow::carried)},
                                           {"plan of the window itself", of(&profile::NextWindow::own)},
                                           {"id order", of(&profile::NextWindow::contiguous), true}}});
  return out;
}

/// Strongest pairs over all layers.
PageTable pair_table(const Profile& p, const char* title, const char* a, const char* b, bool next) {
  std::vector<std::pair<std::size_t, profile::PairFigure>> pairs;
  const auto take = [&](std::size_t layer, const std::vector<profile::PairFigure>& from) {
    for (const auto& pair : from) pairs.emplace_back(layer, pair);
  };
  for (std::size_t l = 0; next && l < p.structure.next.size(); ++l) take(l, p.structure.next[l].strongest);
  for (std::size_t l = 0; !next && l < p.structure.together.size(); ++l)
    take(l, p.structure.together[l].strongest);
  std::stable_sort(pairs.begin(), pairs.end(),
                   [](const auto& x, const auto& y) { return x.second.lift > y.second.lift; });
  Table table({"layer", a, b, "lift ×", "tokens %"});
  for (std::size_t i = 0; i < std::min<std::size_t>(12, pairs.size()); ++i)
    table.add({std::to_string(p.layers[pairs[i].first]), std::to_string(pairs[i].second.a),
               std::to_string(pairs[i].second.b), number(pairs[i].second.lift, 1),
               number(100 * pairs[i].second.share, 2)});
  return {.title = title,
          .note = "Lift: how many times as often as independent choices.",
          .table = std::move(table)};
}

Section structure_section(const Profile& p) {
  const profile::Structure& s = p.structure;
  Section out{.title = "Structure", .paragraphs = {}};
  if (std::isnan(s.reuse)) return out;
  out.items.emplace_back(by_layer(
      p, "Experts shared with the token before", {.name = "reuse", .unit = "share of rows"},
      {{"reuse", s.reuse_by_layer},
       {"independent (mean of layers)", std::vector<double>(p.layers.size(), s.reuse_independent), true}}));
  std::vector<std::string> gaps{"1", "2"};
  for (std::size_t i = 2; i < s.gaps.size(); ++i)
    gaps.push_back(fmt::format("{}–{}", (1u << (i - 1)) + 1, 1u << i));
  gaps.back() = fmt::format("> {}", 1u << (s.gaps.size() - 2));
  std::vector<double> shares = s.gaps;
  while (gaps.size() > 2 && shares.back() == 0) shares.pop_back(), gaps.pop_back();
  gaps.emplace_back("first use");
  shares.push_back(s.first_uses);
  for (double& share : shares) share *= 100;
  out.items.emplace_back(Curves{.title = "Tokens since the request last used the expert",
                                .note = {},
                                .x = {.name = "distance", .unit = "tokens", .labels = gaps},
                                .y = {.name = "rows", .unit = "%"},
                                .at = indexes(gaps.size()),
                                .series = {{"rows", shares}},
                                .bars = true});
  if (!s.together.empty()) {
    out.items.emplace_back(by_layer(
        p, "Lift of the pairs that tokens choose", {.name = "mean lift", .unit = "×"},
        {{"lift", each(s.together, [](const auto& c) { return c.mean_lift; })},
         {"router without likings", each(s.together, [](const auto& c) { return c.uniform_lift; }), true}}));
    out.items.emplace_back(pair_table(p, "Strongest pairs of one layer", "expert", "with expert", false));
    Table cliques({"layer", "experts", "weakest lift ×"});
    for (std::size_t l = 0; l < s.together.size(); ++l) {
      for (const profile::Clique& c : s.together[l].cliques)
        cliques.add({std::to_string(p.layers[l]), fmt::format("{}", fmt::join(c.experts, " ")),
                     number(c.weakest_lift, 2)});
    }
    if (!cliques.rows().empty())
      out.items.emplace_back(PageTable{
          .title = "Cliques", .note = "Every pair has a lift of 2 or more.", .table = std::move(cliques)});
  }
  if (!s.next.empty()) {
    Curves next = by_layer(
        p, "Guessing the next layer's expert", {.name = "right guesses", .unit = "share of rows"},
        {{"knowing this layer's expert", each(s.next, [](const auto& a) { return a.followed; })},
         {"knowing nothing", each(s.next, [](const auto& a) { return a.followed_independent; }), true}});
    next.at.pop_back();  // the last layer has no next
    out.items.emplace_back(std::move(next));
    out.items.emplace_back(
        pair_table(p, "Strongest pairs from a layer to the next", "expert", "next layer's", true));
  }
  if (!s.layer_similarity.empty()) {
    std::vector<double> similarity = s.layer_similarity;
    for (double& r : similarity) r = std::max(r, 0.0);
    out.items.emplace_back(HeatMap{.title = "Layers that see requests alike",
                                   .note = "Correlation, over pairs of requests, of how alike they are in "
                                           "one layer and in the other; below 0 is shown as 0.",
                                   .rows = {.name = "layer", .unit = "id", .labels = names(p.layers)},
                                   .columns = {.name = "layer", .unit = "id", .labels = names(p.layers)},
                                   .row_count = p.layers.size(),
                                   .column_count = p.layers.size(),
                                   .views = {{.name = "similarity",
                                              .value = "Pearson",
                                              .unit = "0 to 1",
                                              .scale = Scale::kUnit,
                                              .values = std::move(similarity)}}});
  }
  return out;
}

Section gain_section(const Profile& p) {
  Section out{.title = "What is to be gained", .paragraphs = {}};
  out.paragraphs.emplace_back(
      "Estimates before any planner has run. Bound: proven, nothing passes it on this traffic. In sample: "
      "reached by a simple "
      "plan on the traffic it was made on. Held out: reached on traffic the plan had not seen.");
  const auto extras = [](const auto& steps) {
    std::vector<std::string> names;
    for (const auto& s : steps) names.push_back(fmt::format("+{:.0f} %", 100 * s.extra));
    return Axis{.name = "extra slots", .unit = "% of the experts", .labels = names};
  };
  using B = profile::BalanceGain;
  using G = profile::GroupGain;
  const auto& balance = p.balance.steps;
  const auto of = [](const auto& steps, auto member, double factor) {
    return each(steps, [&](const auto& s) { return factor * (s.*member); });
  };
  if (p.balance.gpus > 1)
    out.items.emplace_back(
        Curves{.title = fmt::format("Busiest of {} GPUs", p.balance.gpus),
               .note = {},
               .x = extras(balance),
               .y = {.name = "busiest GPU", .unit = "× mean"},
               .at = indexes(balance.size()),
               .series = {{"bound", of(balance, &B::bound, 1)},
                          {"in sample", of(balance, &B::in_sample, 1)},
                          {"held out", of(balance, &B::held_out, 1)},
                          {"id order", std::vector<double>(balance.size(), p.balance.contiguous), true}},
               .bars = true});
  const auto& groups = p.grouping.steps;
  if (!groups.empty())
    out.items.emplace_back(Curves{
        .title = fmt::format("Rows that leave one of {} nodes", p.grouping.nodes),
        .note = {},
        .x = extras(groups),
        .y = {.name = "rows that leave", .unit = "%"},
        .at = indexes(groups.size()),
        .series = {{"bound", of(groups, &G::bound, 100)},
                   {"these groups at best", of(groups, &G::group_bound, 100)},
                   {"held out", of(groups, &G::held_out, 100)},
                   {"random homes", std::vector<double>(groups.size(), 100 * p.grouping.random), true}},
        .bars = true});
  return out;
}

report::Finding finding(const profile::Remark& remark) {
  using Mood = profile::Remark::Mood;
  return {.title = remark.topic,
          .verdict = remark.verdict,
          .text = remark.text,
          .mood = remark.mood == Mood::kGood  ? report::Finding::Mood::kGood
                  : remark.mood == Mood::kBad ? report::Finding::Mood::kBad
                                              : report::Finding::Mood::kNeutral};
}

}  // namespace

report::Table loads_table(const Profile& p) {
  const auto rows = [](double value) {
    return value == std::floor(value) ? report::with_commas(static_cast<std::uint64_t>(value))
                                      : number(value, 1);
  };
  Table table(
      {"phase", "domain", "rows", "hottest\n/ mean", "worst\nlayer", "Gini", "CV", "entropy", "unused"});
  const auto add = [&](const std::string& phase, const std::string& domain, const profile::Spread& s,
                       double worst) {
    table.add({phase, domain, rows(s.rows), number(s.max_over_mean, 2), number(worst, 1), number(s.gini, 3),
               number(s.cv, 2), number(s.entropy, 3), fmt::format("{}", s.unused)});
  };
  for (const profile::PhaseFigures& phase : p.phases) {
    double worst = kNothing;
    for (const profile::Spread& s : phase.layers) worst = std::fmax(worst, s.max_over_mean);
    add(phase.phase, "(all)", phase.average, worst);
    for (std::size_t d = 0; p.domains.size() > 1 && d < p.domains.size(); ++d) {
      if (phase.domains[d].rows > 0) add(phase.phase, p.domains[d], phase.domains[d], kNothing);
    }
  }
  return table;
}

report::Page profile_page(const Profile& p, const std::string& trace) {
  report::Page page{.title = "How " + (p.model.empty() ? std::string("the model") : p.model) + " routes",
                    .subtitle = trace,
                    .facts = {},
                    .summary = {},
                    .sections = {},
                    .notes = p.cannot};
  const auto fact = [&](const char* name, const std::string& value) { page.facts.emplace_back(name, value); };
  fact("MoE layers", std::to_string(p.layers.size()));
  fact("experts a layer", std::to_string(p.experts));
  fact("experts a token", std::to_string(p.top_k));
  if (p.requests > 0) fact("requests", report::with_commas(p.requests));
  if (p.prefill_tokens > 0) fact("prefill tokens", report::with_commas(p.prefill_tokens));
  if (p.decode_tokens > 0) fact("decode tokens", report::with_commas(p.decode_tokens));
  if (p.prefill_tokens + p.decode_tokens == 0 && p.tokens > 0) fact("tokens", report::with_commas(p.tokens));
  if (p.domains.size() > 1) fact("domains", std::to_string(p.domains.size()));
  fact("figures are of", p.main_phase == "all" ? "all phases" : "the " + p.main_phase);
  fact("source", p.format);
  for (const profile::Remark& remark : profile::in_words(p)) page.summary.push_back(finding(remark));
  for (Section section : {gain_section(p), load_section(p), step_section(p), domain_section(p),
                          prefill_section(p), time_section(p), structure_section(p)}) {
    if (!section.items.empty()) page.sections.push_back(std::move(section));
  }
  return page;
}

}  // namespace moesaic::app
