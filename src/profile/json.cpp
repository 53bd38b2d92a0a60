#include "profile/profile.hpp"

namespace moesaic::profile {
namespace {

Json numbers(std::span<const double> values) { return Json::Array(values.begin(), values.end()); }

Json matrix(std::span<const double> values, std::size_t columns) {
  Json::Array out;
  for (std::size_t at = 0; at < values.size(); at += columns)
    out.push_back(numbers(values.subspan(at, columns)));
  return out;
}

Json spread_json(const Spread& s) {
  return Json::Object{
      {"rows", s.rows},       {"max_over_mean", s.max_over_mean}, {"gini", s.gini}, {"cv", s.cv},
      {"entropy", s.entropy}, {"hottest_share", s.hottest_share}, {"hot", s.hot},   {"cold", s.cold},
      {"unused", s.unused}};
}

Json step_json(const StepFigure& s) {
  return Json::Object{{"steps", s.steps},
                      {"max_over_mean", s.max_over_mean},
                      {"max_over_mean_p95", s.max_over_mean_p95},
                      {"max_over_mean_independent", s.max_over_mean_independent},
                      {"distinct", s.distinct},
                      {"distinct_p95", s.distinct_p95},
                      {"distinct_independent", s.distinct_independent}};
}

Json phase_json(const PhaseFigures& phase) {
  Json out =
      Json::Object{{"phase", phase.phase}, {"rows", phase.rows}, {"average", spread_json(phase.average)}};
  const Loads& loads = phase.loads;
  for (std::size_t l = 0; l < loads.layers; ++l) {
    const std::vector<double> all = loads.of_all_kinds(l);
    Json::Array hot, cold, of_domain;
    for (std::size_t d = 0; d < loads.kinds; ++d) of_domain.push_back(spread_json(spread(loads.at(l, d))));
    const double mean = phase.layers[l].rows / static_cast<double>(loads.experts);
    for (std::size_t e = 0; e < loads.experts; ++e) {
      if (all[e] > kHot * mean) hot.push_back(e);
      if (all[e] < kCold * mean) cold.push_back(e);
    }
    out["layers"].push_back(spread_json(phase.layers[l]));
    out["hottest"].push_back(phase.layers[l].hottest);
    out["loads"].push_back(numbers(all));
    out["hot_experts"].push_back(std::move(hot));
    out["cold_experts"].push_back(std::move(cold));
    out["domain_layers"].push_back(std::move(of_domain));
  }
  for (const Spread& s : phase.domains) out["domains"].push_back(spread_json(s));
  return out;
}

Json pairs_json(const std::vector<PairFigure>& pairs) {
  Json::Array out;
  for (const PairFigure& p : pairs)
    out.push_back(Json::Object{{"a", p.a}, {"b", p.b}, {"lift", p.lift}, {"share", p.share}});
  return out;
}

Json domains_json(const Profile& p) {
  Json out = Json::Object{{"names", Json::Array(p.domains.begin(), p.domains.end())},
                          {"tokens", numbers(p.domain_tokens)},
                          {"jensen_shannon_bits", matrix(p.between.jensen_shannon_bits, p.domains.size())},
                          {"cosine", matrix(p.between.cosine, p.domains.size())},
                          {"order", Json::Array(p.tree.order.begin(), p.tree.order.end())},
                          {"merges", Json::Array{}},
                          {"over_used", Json::Array{}}};
  for (const Merge& m : p.tree.merges)
    out["merges"].push_back(Json::Object{{"a", m.a}, {"b", m.b}, {"height", m.height}});
  for (const auto& uses : p.over_used) {
    Json::Array list;
    for (const OverUse& use : uses)
      list.push_back(Json::Object{{"layer", p.layers[use.layer]},
                                  {"expert", use.expert},
                                  {"share", use.share},
                                  {"others", use.others},
                                  {"ratio", use.ratio}});
    out["over_used"].push_back(std::move(list));
  }
  Json::Array generic;
  for (const auto& experts : p.generic.experts)
    generic.push_back(Json::Array(experts.begin(), experts.end()));
  out["generic"] = Json::Object{{"share", p.generic.share}, {"experts", std::move(generic)}};
  return out;
}

Json request_json(const RequestCorrelation& c) {
  return Json::Object{{"mean", c.mean}, {"p10", c.p10}, {"p50", c.p50}, {"p90", c.p90}};
}

Json correlation_json(const Correlations& c) {
  Json::Array after;
  for (std::size_t i = 0; i < c.after.size(); ++i)
    after.push_back(Json::Object{
        {"tokens", std::size_t{1} << i}, {"requests", c.after[i].requests}, {"pearson", c.after[i].pearson}});
  return Json::Object{{"requests", c.requests},
                      {"stand_in", c.stand_in},
                      {"pooled_pearson", c.pooled_pearson},
                      {"pooled_spearman", c.pooled_spearman},
                      {"layer_pearson", numbers(c.layer_pearson)},
                      {"layer_spearman", numbers(c.layer_spearman)},
                      {"request_pearson", request_json(c.pearson)},
                      {"request_spearman", request_json(c.spearman)},
                      {"after", std::move(after)}};
}

Json drift_json(const Profile& p) {
  Json::Array next;
  for (const NextWindow& n : p.drift.next)
    next.push_back(Json::Object{{"carried", n.carried}, {"own", n.own}, {"contiguous", n.contiguous}});
  return Json::Object{{"windows", p.windows},
                      {"arrivals", p.arrivals},
                      {"gpus", p.drift.gpus},
                      {"between", matrix(p.drift.between, p.windows)},
                      {"by_lag", numbers(p.drift.by_lag)},
                      {"half_life", p.drift.half_life},
                      {"next", std::move(next)},
                      {"lost", p.drift.lost}};
}

Json structure_json(const Profile& p) {
  const Structure& s = p.structure;
  Json::Array together, next;
  for (const CoActivation& c : s.together) {
    Json::Array cliques;
    for (const Clique& q : c.cliques)
      cliques.push_back(Json::Object{{"experts", Json::Array(q.experts.begin(), q.experts.end())},
                                     {"weakest_lift", q.weakest_lift}});
    together.push_back(Json::Object{{"tokens", c.tokens},
                                    {"mean_lift", c.mean_lift},
                                    {"strongest", pairs_json(c.strongest)},
                                    {"cliques", std::move(cliques)}});
  }
  for (const Affinity& a : s.next)
    next.push_back(Json::Object{{"tokens", a.tokens},
                                {"information_bits", a.information_bits},
                                {"followed", a.followed},
                                {"followed_independent", a.followed_independent},
                                {"strongest", pairs_json(a.strongest)}});
  return Json::Object{{"reuse", s.reuse},
                      {"reuse_per_request", s.reuse_per_request},
                      {"reuse_independent", s.reuse_independent},
                      {"reuse_by_layer", numbers(s.reuse_by_layer)},
                      {"first_uses", s.first_uses},
                      {"gaps", numbers(s.gaps)},
                      {"mean_lift", s.mean_lift},
                      {"uniform_lift", s.uniform_lift},
                      {"followed", s.followed},
                      {"followed_independent", s.followed_independent},
                      {"information_bits", s.information_bits},
                      {"co_activation", std::move(together)},
                      {"next_layer", std::move(next)},
                      {"layer_similarity", matrix(s.layer_similarity, p.layers.size())}};
}

Json gains_json(const Profile& p) {
  Json::Array balance, grouping;
  for (const BalanceGain& g : p.balance.steps)
    balance.push_back(Json::Object{{"extra", g.extra},
                                   {"slots_per_gpu", g.slots_per_gpu},
                                   {"bound", g.bound},
                                   {"in_sample", g.in_sample},
                                   {"held_out", g.held_out}});
  for (const GroupGain& g : p.grouping.steps)
    grouping.push_back(Json::Object{{"extra", g.extra},
                                    {"experts_per_node", g.capacity},
                                    {"bound", g.bound},
                                    {"group_bound", g.group_bound},
                                    {"held_out", g.held_out}});
  return Json::Object{
      {"gpus", p.balance.gpus},    {"contiguous", p.balance.contiguous}, {"balance", std::move(balance)},
      {"nodes", p.grouping.nodes}, {"random_homes", p.grouping.random},  {"grouping", std::move(grouping)}};
}

}  // namespace

Json to_json(const Profile& p) {
  Json out = Json::Object{{"schema", "moesaic.profile/1"},
                          {"model", p.model},
                          {"format", p.format},
                          {"digest", p.digest},
                          {"kind", p.kind == trace::Kind::kTokens ? "tokens" : "counts"},
                          {"unit", p.unit == trace::CountUnit::kTokens ? "tokens" : "share"},
                          {"layers", Json::Array(p.layers.begin(), p.layers.end())},
                          {"experts", p.experts},
                          {"top_k", p.top_k},
                          {"requests", p.requests},
                          {"tokens", p.tokens},
                          {"prefill_tokens", p.prefill_tokens},
                          {"decode_tokens", p.decode_tokens},
                          {"anonymous_tokens", p.anonymous_tokens},
                          {"missing", p.missing},
                          {"main_phase", p.main_phase},
                          {"domains", domains_json(p)},
                          {"prefill_decode", correlation_json(p.correlation)},
                          {"drift", drift_json(p)},
                          {"structure", structure_json(p)},
                          {"gains", gains_json(p)},
                          {"cannot", Json::Array(p.cannot.begin(), p.cannot.end())},
                          {"phases", Json::Array{}},
                          {"steps", Json::Array{}}};
  for (const PhaseFigures& phase : p.phases) out["phases"].push_back(phase_json(phase));
  for (const StepsOfBatch& s : p.steps)
    out["steps"].push_back(Json::Object{
        {"batch", s.batch}, {"mixed", step_json(s.mixed)}, {"same_kind", step_json(s.same_kind)}});
  out["clusters"] = Json::Object{{"sizes", Json::Array(p.clusters.sizes.begin(), p.clusters.sizes.end())},
                                 {"by_domain", matrix(p.clusters.by_domain, p.domains.size())},
                                 {"within", p.clusters.within},
                                 {"agreement", p.clusters.agreement}};
  return out;
}

}  // namespace moesaic::profile
