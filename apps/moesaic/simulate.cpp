#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "command.hpp"
#include "report/table.hpp"
#include "simulate/sweep.hpp"

namespace moesaic::app {
namespace {

struct Options {
  std::string cluster, trace, json;
  std::size_t threads = 0;
};

std::string percent(const simulate::Estimate& value) {
  return fmt::format("{:+.1f} ±{:.1f}", 100 * value.mean, 100 * value.half);
}

/// What changes are against: jsq, or the first policy where jsq does not run.
const simulate::PolicyOutcome& base_of(const simulate::LoadOutcome& load) {
  const auto jsq = std::ranges::find(load.policies, "jsq", &simulate::PolicyOutcome::name);
  return jsq == load.policies.end() ? load.policies.front() : *jsq;
}

/// One row a policy.
std::string table_of(const simulate::LoadOutcome& load, bool compared) {
  using simulate::Figures;
  const simulate::PolicyOutcome& base = base_of(load);
  report::Table table({"\npolicy", "TPOT\np50 ms", "\nchange %", "TPOT\np99 ms", "\nchange %",
                       "experts\na step", "\nchange %", "TTFT\np50 ms", "a\nbatch"});
  for (const simulate::PolicyOutcome& policy : load.policies) {
    const auto mean = [&](double Figures::* figure) { return simulate::estimate(policy, figure).mean; };
    const auto change = [&](double Figures::* figure) {
      return !compared || &policy == &base ? std::string("-")
                                           : percent(simulate::change(policy, base, figure));
    };
    table.add({policy.name, report::number(mean(&Figures::tpot_p50_ms), 2), change(&Figures::tpot_p50_ms),
               report::number(mean(&Figures::tpot_p99_ms), 2), change(&Figures::tpot_p99_ms),
               report::number(mean(&Figures::active_experts_per_step), 1),
               change(&Figures::active_experts_per_step), report::number(mean(&Figures::ttft_p50_ms), 1),
               report::number(mean(&Figures::running), 1)});
  }
  return table.text();
}

Status run(Context& context, const Options& options) {
  ThreadPool pool(options.threads);
  MOESAIC_ASSIGN(simulate::ClusterFile file, simulate::read_cluster_file(context.files, options.cluster));
  if (!options.trace.empty()) file.trace = options.trace;
  MOESAIC_ASSIGN(const simulate::SweepOutcome outcome, simulate::sweep(context.files, file, pool));
  if (options.json != "-") {
    fmt::print(
        "{}: {} prefill and {} decode workers, {} recorded requests simulated, {} others learnt from\n"
        "decode capacity {:.1f} requests/s; {} seeds; changes against {}, seed by seed, with 95 % "
        "intervals\n",
        options.cluster, file.cluster.prefill.workers, file.cluster.decode.workers, outcome.requests,
        outcome.training_requests, outcome.capacity, file.seeds, base_of(outcome.loads.front()).name);
    for (const simulate::LoadOutcome& load : outcome.loads) {
      fmt::print("\n{:.2f} requests/s ({:.0f} % of capacity)\n{}", load.rate,
                 100 * load.rate / outcome.capacity, table_of(load, file.policies.size() > 1));
    }
  }
  return write_json(context, options.json, to_json(outcome, file));
}

}  // namespace

void add_simulate(CLI::App& app, Context& context) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "simulate", "Serve recorded requests in virtual time under several routing policies");
  command->add_option("cluster", options->cluster, "Cluster file (docs/simulate.md)")->required();
  command->add_option("--trace", options->trace, "Trace to serve instead of the one that the file names");
  command->add_option("--json", options->json, "Write all figures; - = stdout");
  command->add_option("--threads", options->threads, "0 = all cores")->capture_default_str();
  run_when_chosen(*command, context, [&context, options] { return run(context, *options); });
}

}  // namespace moesaic::app
