#include <fmt/format.h>

#include <memory>

#include "command.hpp"
#include "score_table.hpp"
#include "simulate/sweep.hpp"
#include "simulate_page.hpp"

namespace moesaic::app {
namespace {

struct Options {
  std::string cluster, trace, json, html;
  std::size_t threads = 0;
};

Status run(Context& context, const Options& options) {
  if (!options.html.empty()) MOESAIC_TRY(report::can_render());
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
                 100 * load.rate / outcome.capacity, policy_table(load, file.policies.size() > 1).text());
    }
    print_notes(outcome.notes);
  }
  if (!options.html.empty()) {
    MOESAIC_TRY(
        report::write(simulate_page(outcome, file, options.cluster), context.files, options.html, true));
    if (options.json != "-") fmt::print("\nThe page is {}.\n", options.html);
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
  command->add_option("--html", options->html, "Write a page of charts: one file, opened from disk");
  command->add_option("--threads", options->threads, "0 = all cores")->capture_default_str();
  run_when_chosen(*command, context, [&context, options] { return run(context, *options); });
}

}  // namespace moesaic::app
