#include "profile_compare.hpp"

#include <fmt/format.h>

#include <cmath>
#include <numeric>

namespace moesaic::app {
namespace {

using profile::Comparison;
using profile::Profile;
using report::number;

std::string name_of(const Profile& p, const char* letter) {
  return fmt::format("{} ({})", letter, p.model.empty() ? "unknown model" : p.model);
}

std::vector<double> relative_depth(const Profile& p) {
  std::vector<double> out;
  const auto last = static_cast<double>(std::max<std::size_t>(1, p.layers.back()));
  for (const std::size_t layer : p.layers) out.push_back(static_cast<double>(layer) / last);
  return out;
}

/// Loads of b over those of a, each over its layer's mean, [L, E]; NaN where a or b has none.
std::vector<double> ratios(const Profile& a, const Profile& b) {
  const auto relative = [](const Profile& p, std::size_t layer) {
    std::vector<double> out = p.main().loads.of_all_kinds(layer);
    const double total = std::accumulate(out.begin(), out.end(), 0.0);
    for (double& x : out) x /= total;
    return out;
  };
  std::vector<double> out;
  for (std::size_t l = 0; l < a.layers.size(); ++l) {
    const std::vector<double> x = relative(a, l), y = relative(b, l);
    // What one trace alone uses would be infinitely more: shown as nothing, and in the table of overlaps.
    for (std::size_t e = 0; e < x.size(); ++e)
      out.push_back(x[e] > 0 && y[e] > 0 ? y[e] / x[e] : std::nan(""));
  }
  return out;
}

report::Section same_experts(const Comparison& c, const Profile& a, const Profile& b) {
  report::Section out{.title = "The same experts?", .paragraphs = {}};
  const std::vector<double> layers(a.layers.begin(), a.layers.end());
  const report::Axis layer{.name = "layer", .unit = "id"};
  std::vector<std::string> ids;
  for (const std::size_t id : a.layers) ids.push_back(std::to_string(id));
  out.items.emplace_back(
      report::HeatMap{.title = "Load in B over load in A",
                      .note = "Both as shares of their layer; nothing where one never uses the expert.",
                      .rows = {.name = "layer", .unit = "id", .labels = ids},
                      .columns = {.name = "expert", .unit = "id"},
                      .row_count = a.layers.size(),
                      .column_count = a.experts,
                      .views = {{.name = "ratio",
                                 .value = "load in B",
                                 .unit = "× load in A",
                                 .scale = report::Scale::kRatio,
                                 .values = ratios(a, b)}}});
  const auto curve = [&](std::string title, report::Axis y, std::vector<report::Series> series) {
    out.items.emplace_back(report::Curves{.title = std::move(title),
                                          .note = {},
                                          .x = layer,
                                          .y = std::move(y),
                                          .at = layers,
                                          .series = std::move(series)});
  };
  curve("How far apart", {.name = "Jensen-Shannon divergence", .unit = "bits"},
        {{"divergence", c.same.jensen_shannon_bits}});
  curve("Busiest quarter in common", {.name = "of A's busiest quarter", .unit = "share in B's"},
        {{"shared", c.same.shared_busy}});
  curve(fmt::format("A plan for A on B, {} GPUs", c.gpus), {.name = "busiest GPU", .unit = "× mean"},
        {{"plan for A", c.same.carried}, {"plan for B", c.same.own}, {"id order", c.same.contiguous, true}});
  report::Table domains({"domain", "bits"});
  for (const auto& d : c.same.domains) domains.add({d.name, number(d.jensen_shannon_bits, 4)});
  if (!domains.rows().empty())
    out.items.emplace_back(report::PageTable{.title = "The same domain in both",
                                             .note = "Jensen-Shannon divergence, mean over layers.",
                                             .table = std::move(domains)});
  return out;
}

}  // namespace

report::Table comparison_table(const Comparison& c) {
  report::Table table({"figure", "unit", "A", "B", "B / A"});
  for (std::size_t i = 0; i < c.a.size(); ++i) {
    const double a = c.a[i].value, b = c.b[i].value;
    if (std::isnan(a) && std::isnan(b)) continue;
    table.add({c.a[i].label, c.a[i].unit, number(a, 3), number(b, 3), a != 0 ? number(b / a, 2) : "-"});
  }
  return table;
}

std::vector<report::Finding> comparison_in_words(const Comparison& c, const Profile& a, const Profile& b) {
  using Mood = report::Finding::Mood;
  std::vector<report::Finding> out;
  const double load_a = a.main().average.max_over_mean, load_b = b.main().average.max_over_mean;
  out.push_back({.title = "Load",
                 .verdict = load_b > 1.05 * load_a   ? "B is less even"
                            : load_a > 1.05 * load_b ? "B is more even"
                                                     : "alike",
                 .text = fmt::format("The hottest expert of a layer takes {:.2f} × the mean in A and {:.2f} "
                                     "× in B; Gini {:.2f} and {:.2f}.",
                                     load_a, load_b, a.main().average.gini, b.main().average.gini)});
  if (!c.same_shape) {
    out.push_back({.title = "Experts", .verdict = "not comparable", .text = c.cannot});
    return out;
  }
  const double bits = profile::mean(c.same.jensen_shannon_bits);
  out.push_back({.title = "Experts",
                 .verdict = bits < 0.02  ? "the same"
                            : bits < 0.1 ? "similar"
                                         : "different",
                 .text = fmt::format("Loads differ by {:.3f} bits of Jensen-Shannon divergence (mean over "
                                     "layers; 0 = same, 1 = disjoint). {:.0f} % of A's "
                                     "busiest quarter are in B's too.",
                                     bits, 100 * profile::mean(c.same.shared_busy))});
  if (c.gpus > 1)
    out.push_back({.title = "Plans",
                   .verdict = c.same.lost < 0.1 ? "A's plan keeps" : "plan B anew",
                   .text = fmt::format("Placed for A, the busiest of {} GPUs has {:.2f} × the mean on B; "
                                       "placed for B {:.2f} ×, in id order {:.2f} ×.",
                                       c.gpus, profile::mean(c.same.carried), profile::mean(c.same.own),
                                       profile::mean(c.same.contiguous)),
                   .mood = c.same.lost < 0.1 ? Mood::kGood : Mood::kBad});
  return out;
}

report::Page comparison_page(const Comparison& c, const Profile& a, const Profile& b,
                             const std::string& path_a, const std::string& path_b) {
  report::Page page{.title = "How two traces differ",
                    .subtitle = fmt::format("A: {} · B: {}", path_a, path_b),
                    .facts = {},
                    .summary = comparison_in_words(c, a, b),
                    .sections = {},
                    .notes = {}};
  for (const auto& [letter, p] : {std::pair{"A", &a}, std::pair{"B", &b}})
    page.facts.emplace_back(name_of(*p, letter),
                            fmt::format("{} × {} experts, k = {}, {} tokens, the {}", p->layers.size(),
                                        p->experts, p->top_k, report::with_commas(p->tokens), p->main_phase));
  if (c.same_shape) page.sections.push_back(same_experts(c, a, b));
  report::Section figures{.title = "Figures",
                          .paragraphs = {"Means over layers. docs/profile.md has every formula."}};
  figures.items.emplace_back(
      report::PageTable{.title = "Side by side", .note = {}, .table = comparison_table(c)});
  page.sections.push_back(std::move(figures));
  report::Section layers{.title = "By layer", .paragraphs = {}};
  const auto curves = [&](const Profile& p, const char* letter) {
    std::vector<double> gini, hottest;
    for (const profile::Spread& s : p.main().layers)
      gini.push_back(s.gini), hottest.push_back(s.max_over_mean);
    const report::Axis depth{.name = "depth", .unit = "share of the last layer's id"};
    layers.items.emplace_back(report::Curves{.title = fmt::format("Hottest expert, {}", letter),
                                             .note = {},
                                             .x = depth,
                                             .y = {.name = "hottest load", .unit = "× layer mean"},
                                             .at = relative_depth(p),
                                             .series = {{"hottest", hottest}}});
    layers.items.emplace_back(report::Curves{.title = fmt::format("Inequality, {}", letter),
                                             .note = {},
                                             .x = depth,
                                             .y = {.name = "Gini", .unit = "0 to 1"},
                                             .at = relative_depth(p),
                                             .series = {{"Gini", gini}}});
  };
  curves(a, "A");
  curves(b, "B");
  page.sections.push_back(std::move(layers));
  for (const auto& [letter, p] : {std::pair{"A", &a}, std::pair{"B", &b}}) {
    for (const std::string& sentence : p->cannot)
      page.notes.push_back(fmt::format("{}: {}", letter, sentence));
  }
  return page;
}

}  // namespace moesaic::app
