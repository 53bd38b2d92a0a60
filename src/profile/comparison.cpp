#include "profile/comparison.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>

#include "profile/balance.hpp"
#include "profile/statistics.hpp"

namespace moesaic::profile {
namespace {

/// The busiest quarter, at least one; ties by id.
std::vector<bool> busiest(std::span<const double> loads) {
  std::vector<std::size_t> order(loads.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t x, std::size_t y) { return loads[x] > loads[y]; });
  std::vector<bool> out(loads.size());
  for (std::size_t i = 0; i < std::max<std::size_t>(1, loads.size() / 4); ++i) out[order[i]] = true;
  return out;
}

double shared(std::span<const double> a, std::span<const double> b) {
  const std::vector<bool> in_a = busiest(a), in_b = busiest(b);
  double both = 0, one = 0;
  for (std::size_t e = 0; e < a.size(); ++e) {
    one += in_a[e];
    both += in_a[e] && in_b[e];
  }
  return both / one;
}

bool is_empty(std::span<const double> loads) {
  return std::all_of(loads.begin(), loads.end(), [](double x) { return x == 0; });
}

SameExperts same_experts(const Profile& a, const Profile& b, std::size_t gpus) {
  SameExperts out;
  const Loads &of_a = a.main().loads, &of_b = b.main().loads;
  const std::size_t slots = a.experts / gpus;
  for (std::size_t l = 0; l < of_a.layers; ++l) {
    const std::vector<double> x = of_a.of_all_kinds(l), y = of_b.of_all_kinds(l);
    out.jensen_shannon_bits.push_back(jensen_shannon_bits(x, y));
    out.cosine.push_back(cosine(x, y));
    const bool either = is_empty(x) || is_empty(y);
    out.shared_busy.push_back(either ? kNothing : shared(x, y));
    out.carried.push_back(either ? kNothing : imbalance(quick_plan(x, gpus, slots), y));
    out.own.push_back(either ? kNothing : imbalance(quick_plan(y, gpus, slots), y));
    out.contiguous.push_back(either ? kNothing : contiguous_imbalance(y, gpus));
  }
  out.lost = mean(out.carried) / mean(out.own) - 1;
  for (std::size_t d = 0; d < a.domains.size(); ++d) {
    const auto at = std::find(b.domains.begin(), b.domains.end(), a.domains[d]);
    if (at == b.domains.end()) continue;
    std::vector<double> bits;
    for (std::size_t l = 0; l < of_a.layers; ++l)
      bits.push_back(
          jensen_shannon_bits(of_a.at(l, d), of_b.at(l, static_cast<std::size_t>(at - b.domains.begin()))));
    out.domains.push_back({a.domains[d], mean(bits)});
  }
  return out;
}

double worst_layer(const PhaseFigures& phase) {
  double out = kNothing;
  for (const Spread& s : phase.layers) out = std::fmax(out, s.max_over_mean);
  return out;
}

double domain_bits(const Profile& p) {
  const std::size_t n = p.domains.size();
  std::vector<double> bits;
  for (std::size_t x = 0; x < n; ++x) {
    for (std::size_t y = x + 1; y < n; ++y) bits.push_back(p.between.jensen_shannon_bits[x * n + y]);
  }
  return mean(bits);
}

Json figures_json(const std::vector<Headline>& figures) {
  Json out = Json::Object{};
  for (const Headline& f : figures) out[f.key] = f.value;
  return out;
}

Json numbers(const std::vector<double>& values) { return Json::Array(values.begin(), values.end()); }

Json trace_json(const Profile& p, const std::vector<Headline>& figures) {
  return Json::Object{{"model", p.model},           {"format", p.format},
                      {"digest", p.digest},         {"layers", Json::Array(p.layers.begin(), p.layers.end())},
                      {"experts", p.experts},       {"top_k", p.top_k},
                      {"main_phase", p.main_phase}, {"figures", figures_json(figures)}};
}

}  // namespace

std::vector<Headline> headlines(const Profile& p) {
  std::vector<Headline> out;
  const auto add = [&](std::string key, std::string label, std::string unit, double value) {
    out.push_back({std::move(key), std::move(label), std::move(unit), value});
  };
  const Spread& s = p.main().average;
  add("max_over_mean", "hottest expert", "× layer mean", s.max_over_mean);
  add("worst_layer", "hottest expert, worst layer", "× layer mean", worst_layer(p.main()));
  add("gini", "Gini", "0 to 1", s.gini);
  add("cv", "coefficient of variation", "× mean", s.cv);
  add("entropy", "normalised entropy", "0 to 1", s.entropy);
  for (const std::size_t batch : Options{}.batches) {
    const auto at =
        std::find_if(p.steps.begin(), p.steps.end(), [&](const StepsOfBatch& x) { return x.batch == batch; });
    const bool seen = at != p.steps.end() && at->mixed.steps > 0;
    add(fmt::format("distinct_{}", batch), fmt::format("distinct experts, step of {}", batch), "% of experts",
        seen ? 100 * at->mixed.distinct / static_cast<double>(p.experts) : kNothing);
    add(fmt::format("step_max_over_mean_{}", batch), fmt::format("hottest expert, step of {}", batch),
        "× step mean", seen ? at->mixed.max_over_mean : kNothing);
  }
  add("domain_bits", "divergence of two domains, mean", "bits", domain_bits(p));
  add("generic_share", "experts busy in every domain", "% of rows",
      p.domains.size() > 1 ? 100 * p.generic.share : kNothing);
  add("prefill_decode_request", "prefill–decode Pearson, a request", "−1 to 1", p.correlation.pearson.mean);
  add("prefill_decode_pooled", "prefill–decode Pearson, pooled", "−1 to 1", p.correlation.pooled_pearson);
  add("lost", "lost on the next window", "%", 100 * p.drift.lost);
  add("reuse", "experts of the token before", "% of rows", 100 * p.structure.reuse);
  add("reuse_independent", "the same, independent", "% of rows", 100 * p.structure.reuse_independent);
  add("lift", "lift of chosen pairs", "×", p.structure.mean_lift);
  add("followed", "next layer's expert guessed", "% of rows", 100 * p.structure.followed);
  add("contiguous", "busiest GPU, id order", "× mean", p.balance.contiguous);
  for (const BalanceGain& g : p.balance.steps)
    add(fmt::format("balance_held_out_{:.0f}", 100 * g.extra),
        fmt::format("busiest GPU, held out, +{:.0f} %", 100 * g.extra), "× mean", g.held_out);
  for (std::size_t i = 0; i < std::size(kReplicaShares); ++i)
    add(fmt::format("leaving_held_out_{:.0f}", 100 * kReplicaShares[i]),
        fmt::format("rows that leave, held out, +{:.0f} %", 100 * kReplicaShares[i]), "% of rows",
        i < p.grouping.steps.size() ? 100 * p.grouping.steps[i].held_out : kNothing);
  return out;
}

Comparison compare(const Profile& a, const Profile& b) {
  Comparison out{.a = headlines(a),
                 .b = headlines(b),
                 .same_shape = a.layers == b.layers && a.experts == b.experts,
                 .gpus = std::min(a.balance.gpus, b.balance.gpus),
                 .same = {},
                 .cannot = {}};
  if (out.same_shape) {
    out.same = same_experts(a, b, out.gpus);
  } else {
    out.cannot = fmt::format(
        "The traces are of different layers or experts ({} x {} and {} x {}), so experts cannot be compared "
        "one by one.",
        a.layers.size(), a.experts, b.layers.size(), b.experts);
  }
  return out;
}

Json to_json(const Comparison& c, const Profile& a, const Profile& b) {
  Json out = Json::Object{{"schema", "moesaic.profile-compare/1"},
                          {"a", trace_json(a, c.a)},
                          {"b", trace_json(b, c.b)},
                          {"same_shape", c.same_shape},
                          {"same_experts", nullptr}};
  if (!c.same_shape) return out;
  Json::Array domains;
  for (const SameExperts::Domain& d : c.same.domains)
    domains.push_back(Json::Object{{"name", d.name}, {"jensen_shannon_bits", d.jensen_shannon_bits}});
  out["same_experts"] = Json::Object{{"gpus", c.gpus},
                                     {"jensen_shannon_bits", numbers(c.same.jensen_shannon_bits)},
                                     {"cosine", numbers(c.same.cosine)},
                                     {"shared_busy", numbers(c.same.shared_busy)},
                                     {"carried", numbers(c.same.carried)},
                                     {"own", numbers(c.same.own)},
                                     {"contiguous", numbers(c.same.contiguous)},
                                     {"lost", c.same.lost},
                                     {"domains", std::move(domains)}};
  return out;
}

}  // namespace moesaic::profile
