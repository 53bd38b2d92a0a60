// What the simulator says of a policy, and what happens when the gateway runs it before emulated engines on
// real sockets: same recorded requests, same arrivals, same step times, in dilated time. docs/simulate.md.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "gateway/cluster.hpp"
#include "simulate/cluster_file.hpp"
#include "simulate/learning.hpp"
#include "simulate/load.hpp"
#include "simulate/sweep.hpp"
#include "support/imported.hpp"
#include "support/paths.hpp"

namespace moesaic::gateway {
namespace {

using namespace std::chrono_literals;
using net::Task;
using testing::Cluster;
using testing::ClusterOptions;

/// Wall time = virtual time x this. A loaded machine needs more. MOESAIC_DILATION sets it.
double dilation() {
  const char* const text = std::getenv("MOESAIC_DILATION");
  return text == nullptr ? 3 : std::max(0.1, std::atof(text));
}
Nanoseconds dilated(Nanoseconds virtual_time) {
  return Nanoseconds(static_cast<std::int64_t>(static_cast<double>(virtual_time.count()) * dilation()));
}

struct Seen {
  double experts = 0;  ///< distinct, a step
  double tpot_p50_ms = 0;
  std::size_t requests = 0;
};

/// One run of the emulated cluster: 2 prefillers and 4 decoders as in the cluster file.
class Served {
 public:
  Served(const simulate::Cluster& cluster, const simulate::Recording& recording, std::string policy)
      : file_(cluster), recording_(recording), cluster_(options(std::move(policy))) {}

  Seen run(const std::vector<simulate::Begun>& arrivals) {
    cluster_.run([&]() -> Task<void> {
      const auto& backends = cluster_.gateway().state().workers->all();
      co_await cluster_.until(
          [&] {
            return std::all_of(backends.begin(), backends.end(), [](const auto& b) { return b->told_up; });
          },
          "all workers to be up");
      const Nanoseconds start = cluster_.loop().now();
      cluster_.loop().spawn(count(start + dilated(file_.warm_up), -1));
      cluster_.loop().spawn(count(start + dilated(file_.warm_up + file_.measure), 1));
      for (const simulate::Begun& arrival : arrivals) {
        const Nanoseconds at = start + dilated(arrival.at), now = cluster_.loop().now();
        if (at > now) co_await cluster_.loop().sleep(at - now);
        cluster_.loop().spawn(one(arrival));
      }
      co_await cluster_.until([&] { return open_ == 0 && counted_ == 2; }, "all requests to end");
      co_await cluster_.expect_quiet();
    });
    Seen seen{.experts = experts_ / steps_, .requests = tpot_ms_.size()};
    std::ranges::sort(tpot_ms_);
    if (!tpot_ms_.empty()) seen.tpot_p50_ms = tpot_ms_[(tpot_ms_.size() - 1) / 2];
    return seen;
  }

 private:
  ClusterOptions options(std::string policy) {
    ClusterOptions out;
    out.handoff = protocol::Handoff::kEldr;
    out.prefill = file_.prefill.workers;
    out.decode = file_.decode.workers;
    out.recording = &recording_;
    out.worker = [this](emulator::WorkerConfig& worker) {
      worker.dilation = dilation();
      worker.max_running = file_.decode.max_running;
      worker.prefill_fixed = file_.prefill.fixed;
      worker.prefill_per_token = file_.prefill.per_token;
      worker.step = file_.decode.step;
      worker.eldr_signature = worker.role == protocol::Role::kPrefill;
    };
    out.configure = [policy](Config& config) {
      config.decode_policy = policy;
      config.health = {.interval = 500ms, .timeout = 10s, .eject_after = 0};
      for (WorkerSpec& worker : config.workers) worker.max_running = 0;
    };
    out.policies.usage = {recording_.shape.layers.size(), recording_.shape.experts, recording_.shape.top_k};
    routing::DecodePolicyConfig policies = file_.policies;
    policies.eldr.refit_every = dilated(policies.eldr.refit_every);
    policies.eldr.window = dilated(policies.eldr.window);
    out.policies.decode = [policies](std::string_view name) {
      return routing::make_decode_policy(name, policies);
    };
    return out;
  }

  bool measured(const simulate::Begun& arrival) const {
    return arrival.at >= file_.warm_up && arrival.at < file_.warm_up + file_.measure;
  }

  Task<void> count(Nanoseconds at, double sign) {
    const Nanoseconds now = cluster_.loop().now();
    if (at > now) co_await cluster_.loop().sleep(at - now);
    for (std::size_t i = file_.prefill.workers; i < cluster_.workers(); ++i) {
      experts_ += sign * static_cast<double>(cluster_.worker(i).batch().active_experts());
      steps_ += sign * static_cast<double>(cluster_.worker(i).batch().steps());
    }
    ++counted_;
  }

  Task<void> one(simulate::Begun arrival) {
    ++open_;
    // As long as the recorded prompt, by the emulator's measure of four bytes a token.
    std::string prompt = fmt::format("trace:{} ", arrival.recorded);
    prompt.resize(std::max<std::size_t>(prompt.size(), 4 * std::size_t{arrival.prompt_tokens} - 1), 'x');
    Json body;
    body["prompt"] = prompt;
    body["max_tokens"] = arrival.tokens;
    body["stream"] = true;
    const auto times = co_await cluster_.stream_times(body.dump());
    EXPECT_TRUE(times) << "request " << arrival.recorded;
    if (times && measured(arrival) && arrival.tokens > 1) {
      const double wall = static_cast<double>((times->second - times->first).count());
      tpot_ms_.push_back(wall / dilation() / (arrival.tokens - 1) / 1e6);
    }
    --open_;
  }

  const simulate::Cluster& file_;
  const simulate::Recording& recording_;
  Cluster cluster_;
  double experts_ = 0, steps_ = 0;
  std::vector<double> tpot_ms_;
  std::size_t open_ = 0, counted_ = 0;
};

TEST(SlowSimulator, ThePolicyEffectIsSeenThroughRealSocketsWithinTwoPoints) {
  const testing::Imported mini({testing::source_path("samples/moesaic-mini")});
  ASSERT_TRUE(mini) << mini.error();
  auto file = simulate::read_cluster_file(io::real_files(),
                                          testing::source_path("samples/clusters/moesaic-mini-4d.yaml"));
  ASSERT_TRUE(file) << file.error().message;
  ThreadPool pool;
  const simulate::RecordingSplit split{
      .one_in = file->one_in, .seed = file->split_seed, .predict_from = file->predict_from};
  const auto served = simulate::read_part(mini.trace(), split, RequestSet::kHeldout, pool);
  const auto training = simulate::read_part(mini.trace(), split, RequestSet::kTrain, pool);
  ASSERT_TRUE(served && training);
  simulate::Cluster& cluster = file->cluster;
  cluster.policies.marginal.step = cluster.decode.step;
  cluster.decode.tells_experts = false;  // as the emulated engines' streams, which carry no experts
  ASSERT_TRUE(simulate::fit_policies(*training, cluster.decode.workers, true, cluster.policies, pool));
  const auto rate = simulate::rate_that_runs(cluster, *served, file->loads.front());
  ASSERT_TRUE(rate) << rate.error().message;

  fmt::print(
      "{} requests served, {} others learnt from, {:.1f} requests/s, dilation {}\n"
      "policy      experts a step: simulated, sockets   change    TPOT p50 ms: simulated, sockets   change\n",
      served->requests.size(), training->requests.size(), *rate, dilation());
  std::optional<std::array<Seen, 2>> base;
  for (const std::string policy : {"jsq", "eldr", "marginal"}) {
    const auto run = simulate::run(cluster, *served, {.policy = policy, .rate = *rate, .seed = 0});
    ASSERT_TRUE(run) << run.error().message;
    const simulate::Figures figures = simulate::figures_of(*run, cluster.measure);
    std::array<Seen, 2> seen{Seen{.experts = figures.active_experts_per_step,
                                  .tpot_p50_ms = figures.tpot_p50_ms,
                                  .requests = run->requests.size()},
                             Served(cluster, *served, policy).run(run->begun)};
    if (!base) base = seen;
    const auto change = [&](std::size_t which, double Seen::* figure) {
      return 100 * (seen[which].*figure / ((*base)[which].*figure) - 1);
    };
    fmt::print("{:<12}{:>24.1f}{:>9.1f}{:>+9.1f}{:>+7.1f}{:>24.3f}{:>9.3f}{:>+9.1f}{:>+7.1f}\n", policy,
               seen[0].experts, seen[1].experts, change(0, &Seen::experts), change(1, &Seen::experts),
               seen[0].tpot_p50_ms, seen[1].tpot_p50_ms, change(0, &Seen::tpot_p50_ms),
               change(1, &Seen::tpot_p50_ms));
    EXPECT_EQ(seen[0].requests, seen[1].requests) << policy;
    EXPECT_NEAR(change(0, &Seen::experts), change(1, &Seen::experts), 2) << policy;
    EXPECT_NEAR(change(0, &Seen::tpot_p50_ms), change(1, &Seen::tpot_p50_ms), 2) << policy;
  }
}

}  // namespace
}  // namespace moesaic::gateway
