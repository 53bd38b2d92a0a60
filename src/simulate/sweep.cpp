#include "simulate/sweep.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "signature/layer_choice.hpp"
#include "simulate/learning.hpp"
#include "simulate/load.hpp"
#include "trace/trace.hpp"

namespace moesaic::simulate {
namespace {

double percentile_ms(std::vector<Nanoseconds>& values, double share) {
  if (values.empty()) return 0;
  const double rank = std::ceil(share * static_cast<double>(values.size()));
  const auto at = values.begin() + static_cast<std::ptrdiff_t>(std::max(1.0, rank)) - 1;
  std::ranges::nth_element(values, at);
  return static_cast<double>(at->count()) / 1e6;
}

/// ELDR's layers and first centroids as a router has them.
Status take_router(const artifact::Router& router, const std::string& path, const ModelShape& shape,
                   routing::EldrOptions& eldr) {
  eldr.space = router.assigner.space;
  if (const Status bound = signature::bind(eldr.space, shape); !bound) {
    return bad_input(fmt::format("{}: {}", path, bound.error().message));
  }
  eldr.centroids = router.assigner.prototypes;
  return {};
}

/// Predictor, layers and first centroids, from the training requests; the latter two from a router if there
/// is one.
Status learn_policies(const Recording& training, const ClusterFile& file, Cluster& cluster, SweepOutcome& out,
                      ThreadPool& pool) {
  routing::DecodePolicyConfig& policies = cluster.policies;
  policies.marginal.step = cluster.decode.step;
  if (!file.router) {
    MOESAIC_ASSIGN(const PolicyFit fit,
                   fit_policies(training, cluster.decode.workers, file.eldr_balanced, policies, pool));
    out.eldr_rho = fit.eldr_rho;
    out.eldr_layers = fit.eldr_layers;
    return {};
  }
  const std::size_t layers = training.shape.layers.size(), experts = training.shape.experts;
  const std::vector<float> decode = decode_counts(training);
  policies.marginal.predictor = fit_predictor(training, pool);
  policies.eldr.layer_rows = layers;
  MOESAIC_TRY(take_router(*file.router, file.router_path, training.shape, policies.eldr));
  out.eldr_rho = signature::signature_rho(policies.eldr.space, {layers, experts, training.prefill_counts},
                                          {layers, experts, decode}, {.pairs = 10'000}, pool);
  out.eldr_layers = policies.eldr.space.layers.size();
  return {};
}

std::string_view name(LoadUnit unit) {
  return unit == LoadUnit::kRates ? "rates" : unit == LoadUnit::kLoads ? "loads" : "running";
}

struct NamedFigure {
  const char* name;
  double Figures::* figure;
};
constexpr NamedFigure kFigures[] = {{"active_experts_per_step", &Figures::active_experts_per_step},
                                    {"busiest_over_mean", &Figures::busiest_over_mean},
                                    {"fallbacks", &Figures::fallbacks},
                                    {"held", &Figures::held},
                                    {"requests", &Figures::requests},
                                    {"restarted", &Figures::restarted},
                                    {"running_per_step", &Figures::running},
                                    {"tokens_per_second", &Figures::tokens_per_second},
                                    {"tpot_p50_ms", &Figures::tpot_p50_ms},
                                    {"tpot_p95_ms", &Figures::tpot_p95_ms},
                                    {"tpot_p99_ms", &Figures::tpot_p99_ms},
                                    {"ttft_p50_ms", &Figures::ttft_p50_ms},
                                    {"ttft_p99_ms", &Figures::ttft_p99_ms}};
/// Those that are also given as relative changes.
constexpr NamedFigure kCompared[] = {{"active_experts_per_step", &Figures::active_experts_per_step},
                                     {"tpot_p50_ms", &Figures::tpot_p50_ms},
                                     {"tpot_p95_ms", &Figures::tpot_p95_ms},
                                     {"tpot_p99_ms", &Figures::tpot_p99_ms}};

}  // namespace

Figures figures_of(const RunResult& result, Nanoseconds measure) {
  std::vector<Nanoseconds> ttft, tpot;
  for (const RequestRecord& request : result.requests) {
    ttft.push_back(request.ttft());
    if (request.tokens > 1) tpot.push_back(request.tpot());
  }
  Figures out{.ttft_p50_ms = percentile_ms(ttft, 0.5), .ttft_p99_ms = percentile_ms(ttft, 0.99)};
  out.tpot_p50_ms = percentile_ms(tpot, 0.5);
  out.tpot_p95_ms = percentile_ms(tpot, 0.95);
  out.tpot_p99_ms = percentile_ms(tpot, 0.99);
  const double steps = static_cast<double>(std::max<std::int64_t>(1, result.steps));
  const double tokens = static_cast<double>(result.step_tokens);
  out.active_experts_per_step = static_cast<double>(result.active_experts) / steps;
  out.running = tokens / steps;
  out.tokens_per_second = tokens / (static_cast<double>(measure.count()) / 1e9);
  for (const std::int64_t of_one : result.decoder_tokens) {
    const auto decoders = static_cast<double>(result.decoder_tokens.size());
    out.decoder_over_mean.push_back(tokens > 0 ? static_cast<double>(of_one) * decoders / tokens : 0);
  }
  out.busiest_over_mean = std::ranges::max(out.decoder_over_mean);
  out.requests = static_cast<double>(result.requests.size());
  out.held = static_cast<double>(result.held);
  out.fallbacks = static_cast<double>(result.fallbacks);
  out.restarted = static_cast<double>(result.restarted);
  return out;
}

Result<SweepOutcome> sweep(io::FileSystem& files, const ClusterFile& file, ThreadPool& pool) {
  MOESAIC_ASSIGN(const trace::Trace trace, trace::Trace::open(files, file.trace));
  const RecordingSplit split{
      .one_in = file.one_in, .seed = file.split_seed, .predict_from = file.predict_from};
  MOESAIC_ASSIGN(Recording recording, read_part(trace, split, RequestSet::kHeldout, pool));
  MOESAIC_ASSIGN(const Recording training, read_part(trace, split, RequestSet::kTrain, pool));
  MOESAIC_TRY(validate(file.cluster.mix, recording));
  if (training.requests.size() < std::max<std::size_t>(2, file.cluster.decode.workers)) {
    return bad_input(
        fmt::format("{}: {} requests are left to learn from, expected at least one a decoder ({}); use a "
                    "larger trace or fewer decoders.",
                    file.trace, training.requests.size(), file.cluster.decode.workers));
  }
  Cluster cluster = file.cluster;
  if (cluster.decode.plan && (cluster.decode.plan->placement.layers() != recording.shape.layers ||
                              cluster.decode.plan->placement.experts() != recording.shape.experts)) {
    return bad_input(fmt::format(
        "{}: the decoders' plan is for other layers or experts than this trace's; plan from this trace.",
        file.trace));
  }
  SweepOutcome out{.requests = recording.requests.size(), .training_requests = training.requests.size()};
  MOESAIC_TRY(learn_policies(training, file, cluster, out, pool));
  if (file.predict_folds > 0) {
    recording.foretold =
        foretell(fit_foretellers(training, recording, file.predict_folds, pool), recording, pool);
    out.notes.push_back(folds_note(file.predict_folds));
  }
  out.capacity = decode_capacity(cluster, recording);
  if (file.router && file.router->source.trace_digest == trace.digest()) {
    out.notes.push_back(
        "The router was fitted on requests of this very trace: some of those that are served are among them, "
        "so that eldr looks better than it would on unseen ones.");
  }
  for (const double load : file.loads) {
    LoadOutcome one{.load = load, .rate = load};
    if (file.unit == LoadUnit::kLoads) one.rate = load * out.capacity;
    if (file.unit == LoadUnit::kRunning) {
      MOESAIC_ASSIGN(one.rate, rate_that_runs(cluster, recording, load));
    }
    for (const std::string& policy : file.policies) {
      one.policies.push_back({.name = policy, .runs = std::vector<Figures>(file.seeds)});
    }
    out.loads.push_back(std::move(one));
  }
  const std::size_t of_load = file.policies.size() * file.seeds;
  MOESAIC_TRY(pool.try_parallel_for(file.loads.size() * of_load, [&](std::size_t i) -> Status {
    LoadOutcome& load = out.loads[i / of_load];
    PolicyOutcome& policy = load.policies[i % of_load / file.seeds];
    const std::size_t seed = i % file.seeds;
    MOESAIC_ASSIGN(
        const RunResult result,
        run(cluster, recording, {.policy = policy.name, .rate = load.rate, .seed = file.first_seed + seed}));
    policy.runs[seed] = figures_of(result, cluster.measure);
    return {};
  }));
  return out;
}

namespace {

std::vector<double> by_seed(const PolicyOutcome& policy, double Figures::* figure) {
  std::vector<double> values;
  for (const Figures& run : policy.runs) values.push_back(run.*figure);
  return values;
}

}  // namespace

Estimate estimate(const PolicyOutcome& policy, double Figures::* figure) {
  return estimate(by_seed(policy, figure));
}

Estimate change(const PolicyOutcome& policy, const PolicyOutcome& base, double Figures::* figure) {
  return estimate_change(by_seed(policy, figure), by_seed(base, figure));
}

Json to_json(const SweepOutcome& outcome, const ClusterFile& file) {
  Json out;
  out["schema"] = "moesaic.simulate/1";
  out["trace"] = file.trace;
  out["predict_folds"] = file.predict_folds;
  out["predict_from"] = to_string(file.predict_from);
  out["seeds"] = file.seeds;
  out["first_seed"] = file.first_seed;
  out["unit"] = name(file.unit);
  out["requests_simulated"] = outcome.requests;
  out["requests_learnt_from"] = outcome.training_requests;
  out["decode_capacity_per_second"] = outcome.capacity;
  out["eldr_layers"] = outcome.eldr_layers;
  out["eldr_rho"] = outcome.eldr_rho;
  Json::Array rates;
  for (const LoadOutcome& load : outcome.loads) {
    Json one;
    one["load"] = load.load;
    one["requests_per_second"] = load.rate;
    one["policies"] = Json::Object{};
    const auto base = std::ranges::find(load.policies, "jsq", &PolicyOutcome::name);
    for (const PolicyOutcome& policy : load.policies) {
      Json& figures = one["policies"][policy.name];
      figures["ci95"] = Json::Object{};
      for (const NamedFigure& named : kFigures) {
        const Estimate value = estimate(policy, named.figure);
        figures[named.name] = value.mean;
        figures["ci95"][named.name] = value.half;
      }
      if (base == load.policies.end()) continue;
      figures["change_against_jsq"] = Json::Object{};
      for (const NamedFigure& named : kCompared) {
        const Estimate value = change(policy, *base, named.figure);
        figures["change_against_jsq"][named.name] = Json::Object{{"ci95", value.half}, {"mean", value.mean}};
      }
    }
    rates.push_back(std::move(one));
  }
  out["rates"] = std::move(rates);
  out["notes"] = Json::Array(outcome.notes.begin(), outcome.notes.end());
  return out;
}

}  // namespace moesaic::simulate
