#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>

#include "artifact/engine.hpp"
#include "artifact/plan.hpp"
#include "command.hpp"
#include "report/table.hpp"
#include "score_table.hpp"

namespace moesaic::app {
namespace {

struct Options {
  std::string plan, to, output, json;
  bool force = false;
};

double figure(const Json& score, std::string_view group, std::string_view key) {
  double value = std::numeric_limits<double>::quiet_NaN();
  const Json* at = group.empty() ? &score : score.find(group);
  if (at != nullptr) at = at->find(key);
  if (at != nullptr) static_cast<void>(at->to_double(value));
  return value;
}

/// The plan's held-out score under its own replica choice and under the engine's.
void print_rescored(const artifact::Plan& plan, dispatch::Rule rule) {
  const Json* all = plan.score.find("by_dispatch");
  const Json* own = all != nullptr ? all->find(dispatch::name(plan.dispatch)) : nullptr;
  const Json* engine = all != nullptr ? all->find(dispatch::name(rule)) : nullptr;
  if (own == nullptr || engine == nullptr) {
    fmt::print("The plan was made from counts: copies under the engine's replica choice are not known.\n");
    return;
  }
  report::Table table({"held-out score", fmt::format("planned\n({})", dispatch::name(plan.dispatch)),
                       fmt::format("engine\n({})", dispatch::name(rule)), "lost"});
  const auto row = [&](const char* label, std::string_view group, std::string_view key) {
    const double before = figure(*own, group, key), after = figure(*engine, group, key);
    table.add({label, report::number(before, 3), report::number(after, 3),
               fmt::format("{:+.1f} %", 100 * (after - before) / before)});
  };
  row("node copies a token-layer, dedup", "dedup", "node_copies_per_token_layer");
  row("node copies a token-layer, per expert", "per_expert", "node_copies_per_token_layer");
  row("node max/mean", "", "node_max_over_mean");
  row("GPU max/mean", "", "gpu_max_over_mean");
  fmt::print("{}", table.text());
}

/// Which GPUs of which machines the plan's are: a line a node.
std::string devices_to_use(const Cluster& cluster) {
  std::string text = "The plan leaves out GPUs; start the engine with those it is for alone:\n";
  std::size_t rank = 0;
  for (std::size_t node = 0; node < cluster.whole.nodes; ++node) {
    std::vector<std::size_t> local;
    for (std::size_t g = 0; g < cluster.whole.gpus_per_node; ++g) {
      if (!std::ranges::binary_search(cluster.missing, cluster.whole.gpu(NodeId(node), g)))
        local.push_back(g);
    }
    text += local.empty() ? fmt::format("  machine {}: not used\n", node)
                          : fmt::format("  machine {}: CUDA_VISIBLE_DEVICES={} (node {} of the plan)\n", node,
                                        fmt::join(local, ","), rank++);
  }
  return text;
}

Status run(Context& context, const Options& options) {
  MOESAIC_ASSIGN(const artifact::Engine engine, artifact::parse_engine(options.to));
  MOESAIC_ASSIGN(const artifact::Plan plan, artifact::read_plan(context.files, options.plan));
  MOESAIC_ASSIGN(const artifact::Export file, artifact::export_plan(plan, engine, options.output));
  MOESAIC_TRY(io::write_file_atomically(context.files, options.output, file.bytes, options.force));
  // What the disk gives back is what the engine will read.
  MOESAIC_ASSIGN(const std::string back, io::read_file(context.files, options.output, file.bytes.size()));
  MOESAIC_ASSIGN(
      const Placement placement,
      artifact::read_engine_file(back, engine, plan.shape, plan.placement.topology(), options.output));
  if (placement != plan.placement) {
    return environment_error(
        fmt::format("{}: reads back another placement than the plan's; check the disk and export "
                    "again.",
                    options.output));
  }
  const dispatch::Rule rule = artifact::dispatch_rule(engine);
  fmt::print("{}: written and read back, {} layers x {} slots\n", options.output,
             plan.placement.layers().size(), plan.placement.slots());
  print_rescored(plan, rule);
  fmt::print("Launch with:\n{}\n", file.launch);
  if (plan.cluster) fmt::print("{}", devices_to_use(*plan.cluster));
  for (const std::string& warning : file.warnings) fmt::print("warning: {}\n", warning);
  Json json;
  json["schema"] = "moesaic.export/1";
  json["engine"] = artifact::name(engine);
  json["file"] = options.output;
  json["dispatch"] = dispatch::name(rule);
  json["launch"] = file.launch;
  Json::Array warnings;
  for (const std::string& warning : file.warnings) warnings.push_back(warning);
  json["warnings"] = std::move(warnings);
  if (const Json* all = plan.score.find("by_dispatch"); all != nullptr) {
    if (const Json* score = all->find(dispatch::name(rule)); score != nullptr) json["score"] = *score;
  }
  return write_json(context, options.json, json);
}

}  // namespace

void add_export(CLI::App& app, Context& context) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("export", "Write a plan as the file an engine loads, with its launch flags");
  command->add_option("plan", options->plan, "plan.json")->required();
  command->add_option("--to", options->to, "sglang, trtllm, vllm-eplb or vllm-ascend")->required();
  command->add_option("-o,--output", options->output, "File to write")->required();
  command->add_flag("--force", options->force, "Replace an existing file");
  command->add_option("--json", options->json, "Write what was done as JSON; - = stdout");
  run_when_chosen(*command, context, [&context, options] { return run(context, *options); });
}

}  // namespace moesaic::app
