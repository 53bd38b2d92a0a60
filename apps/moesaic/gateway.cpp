#include "gateway/gateway.hpp"

#include <fmt/format.h>

#include <csignal>
#include <cstdio>
#include <memory>
#include <optional>

#include "artifact/plan.hpp"
#include "artifact/router.hpp"
#include "command.hpp"
#include "core/config.hpp"
#include "core/limits.hpp"
#include "cost/model_yaml.hpp"
#include "cost/step_time.hpp"
#include "recorded.hpp"
#include "routing/decode_policies.hpp"
#include "serving.hpp"
#include "simulate/learning.hpp"

namespace moesaic::app {
namespace {

Result<std::string> read_text(Context& context, const std::string& path) {
  return io::read_file(context.files, path, limits::kMaxConfigBytes);
}

Result<gateway::Config> read(Context& context, const std::string& path) {
  MOESAIC_ASSIGN(const std::string yaml, read_text(context, path));
  return gateway::read_config(yaml, path);
}

gateway::UsageShape usage_of(const ModelShape& shape) {
  return {shape.layers.size(), shape.experts, shape.top_k};
}

/// Counts of one kind alone reach the policies. `known` may still be none.
Status check_same_size(const std::string& path, std::string_view which, const gateway::UsageShape& known,
                       const gateway::UsageShape& other) {
  if (known.cells() == 0 || (known.layers == other.layers && known.experts == other.experts)) return {};
  return bad_input(fmt::format("{}: {} are of models of different size: {} x {} and {} x {} layers x experts",
                               path, which, known.layers, known.experts, other.layers, other.experts));
}

/// The `policy.step` block that prices experts for `marginal`; nothing when there is none. Sizes are those of
/// `named`, else of the preset that the shape names.
Result<std::optional<cost::StepTime>> read_step(Context& context, const std::string& path,
                                                const std::optional<cost::ModelPreset>& named,
                                                const ModelShape& shape) {
  MOESAIC_ASSIGN(const std::string yaml, read_text(context, path));
  MOESAIC_ASSIGN(const ConfigNode root, parse_config(yaml, path));
  const ConfigNode* policy = root.find("policy");
  const ConfigNode* step = policy != nullptr ? policy->find("step") : nullptr;
  if (step == nullptr) return std::nullopt;
  const auto preset = cost::find_preset(shape.model);
  const cost::ModelPreset& model = named ? *named : preset ? **preset : cost::model_presets().front();
  MOESAIC_ASSIGN(std::optional<cost::StepTime> time, cost::read_step_time(*step, model));
  return time;
}

/// policy.plan: where requests have their homes.
Status read_homes(Context& context, const std::string& path, const gateway::Config& config,
                  gateway::PolicyMaker& maker, routing::DecodePolicyConfig& options) {
  MOESAIC_ASSIGN(artifact::Plan plan, artifact::read_plan(context.files, config.plan_file));
  if (!plan.assigner) {
    return bad_input(
        fmt::format("{}: has no assigner, so it gives unseen requests no homes; plan from a trace of tokens "
                    "with requests, not from counts",
                    config.plan_file));
  }
  const gateway::UsageShape usage = usage_of(plan.shape);
  MOESAIC_TRY(check_same_size(path, "policy.router and policy.plan", maker.usage, usage));
  maker.usage = usage;
  if (!maker.predictor) maker.predictor = signature::uniform_predictor(plan.shape);
  maker.shape = plan.shape;
  maker.homes = plan.assigner->targets();
  options.group = {.assigner = std::move(*plan.assigner), .layer_rows = usage.layers};
  return {};
}

/// Reads the files that locality policies need, once; makes policies from them.
Result<gateway::PolicyMaker> make_policies(Context& context, const std::string& path,
                                           const gateway::Config& config) {
  auto options = std::make_shared<routing::DecodePolicyConfig>();
  gateway::PolicyMaker maker;
  bool has_eldr = false, has_marginal = false;
  std::optional<cost::ModelPreset> named;
  if (!config.model.empty()) {
    MOESAIC_ASSIGN(named, cost::named_model(context.files, config.model));
  }
  if (!config.router_file.empty()) {
    MOESAIC_ASSIGN(artifact::Router router, artifact::read_router(context.files, config.router_file));
    MOESAIC_TRY(signature::bind(router.assigner.space, router.shape));
    options->eldr.layer_rows = router.shape.layers.size();
    options->eldr.space = router.assigner.space;
    options->eldr.centroids = router.assigner.prototypes;
    maker.usage = usage_of(router.shape);
    maker.predictor = signature::uniform_predictor(router.shape);
    maker.prompt_model = std::move(router.prompt_model);
    maker.shape = router.shape;
    has_eldr = true;
  }
  options->eldr.refit_every = std::chrono::seconds(2);
  if (!config.plan_file.empty()) MOESAIC_TRY(read_homes(context, path, config, maker, *options));
  if (!config.trace.empty()) {
    MOESAIC_ASSIGN(const simulate::Recording recording,
                   read_recorded(context, config.trace, config.trace_requests));
    const gateway::UsageShape usage = usage_of(recording.shape);
    MOESAIC_TRY(check_same_size(path, "policy.trace and policy.router or policy.plan", maker.usage, usage));
    maker.usage = usage;
    maker.shape = recording.shape;
    if (!has_eldr) {
      options->eldr.layer_rows = usage.layers;
      options->eldr.space = signature::all_layers(recording.shape, signature::Transform::kCount);
      has_eldr = true;
    }
    ThreadPool pool;
    maker.predictor = simulate::fit_predictor(recording, pool);
    MOESAIC_ASSIGN(const auto step, read_step(context, path, named, recording.shape));
    if (step) {
      options->marginal.predictor = *maker.predictor;
      options->marginal.step = *step;
      has_marginal = true;
    }
  }
  if (named) {
    const gateway::UsageShape usage = usage_of(named->shape);
    MOESAIC_TRY(
        check_same_size(path, "model and policy.router, policy.plan or policy.trace", maker.usage, usage));
    maker.usage = usage;
    if (!maker.shape) maker.shape = named->shape;
  }
  maker.decode = [options, has_eldr,
                  has_marginal](std::string_view name) -> Result<std::unique_ptr<routing::DecodePolicy>> {
    if (name == "marginal" && !has_marginal) {
      return bad_input(
          "policy marginal needs policy.trace (a store it learns from) and policy.step (what a decode step "
          "costs, docs/cost.md)");
    }
    if (name.starts_with("eldr") && !has_eldr) {
      return bad_input(fmt::format("policy {} needs policy.router or policy.trace", name));
    }
    if (name == "group" && options->group.assigner.targets() == 0) {
      return bad_input("policy group needs policy.plan (a plan.json with an assigner, docs/plan.md)");
    }
    return routing::make_decode_policy(name, *options);
  };
  return maker;
}

Status run_gateway(Context& context, const std::string& path) {
  MOESAIC_ASSIGN(gateway::Config config, read(context, path));
  MOESAIC_ASSIGN(gateway::PolicyMaker policies, make_policies(context, path, config));
  net::Loop loop;
  const std::string address = config.listen.address, admin = config.admin.address;
  const bool tls = !config.listen.certificate.empty();
  MOESAIC_ASSIGN(const std::unique_ptr<gateway::Gateway> running,
                 gateway::Gateway::start(loop, context.files, std::move(config), std::move(policies),
                                         [&context, path] { return read(context, path); }));
  loop.on_signals({SIGTERM, SIGINT, SIGHUP}, [&](int signal) {
    if (signal == SIGHUP) {
      if (const Status reloaded = running->reload(); !reloaded) {
        std::fprintf(stderr, "moesaic: not reloaded: %s\n", reloaded.error().message.c_str());
      }
      return;
    }
    if (running->state().draining) loop.stop();  // a second signal does not wait
    running->drain([&loop] { loop.stop(); });
  });
  fmt::print("gateway on {}://{}:{}, admin on http://{}:{}\n", tls ? "https" : "http", address,
             running->port(), admin, running->admin_port());
  std::fflush(stdout);
  loop.run();
  loop.drop_tasks();  // requests that did not end in time refer to the gateway
  return {};
}

}  // namespace

void add_gateway(CLI::App& app, Context& context) {
  CLI::App* command = app.add_subcommand(
      "gateway", "Serve the OpenAI API in front of engines, each request where its experts are");
  const auto path = std::make_shared<std::string>();
  command->add_option("config", *path, "gateway.yaml; docs/gateway.md lists its keys")->required();
  run_when_chosen(*command, context, [&context, path] { return run_gateway(context, *path); });
}

}  // namespace moesaic::app
