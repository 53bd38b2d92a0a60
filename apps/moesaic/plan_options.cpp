#include "plan_options.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "core/limits.hpp"
#include "cost/model_yaml.hpp"
#include "placement/algorithm.hpp"
#include "planning/pin_list.hpp"
#include "trace/identical.hpp"

namespace moesaic::app {

void PlanOptions::add_topology(CLI::App& command) {
  command.add_option("--nodes", nodes, "Nodes")->required()->check(CLI::PositiveNumber);
  command.add_option("--gpus-per-node", gpus_per_node, "GPUs a node")->required()->check(CLI::PositiveNumber);
  command.add_option("--attention", attention, "Where a request's attention runs: dp (a GPU) or tp (a node)")
      ->capture_default_str();
}

void PlanOptions::add_scoring(CLI::App& command) {
  command.add_option("--dispatch", dispatch, "Replica choice: local, sglang, vllm, trtllm or random")
      ->capture_default_str();
  command.add_option("--phase", phase,
                     "Tokens that count: decode, prefill or all (default: decode where present)");
  command.add_option("--predict-from", predict_from,
                     "What homes are predicted from: prefill, fraction:F or fraction:F,max:N");
  command
      .add_option("--assign", assign,
                  oracles ? "Homes of unseen requests: after-prefill, predicted, random or told (an oracle)"
                          : "Homes of unseen requests: after-prefill, predicted or random")
      ->capture_default_str();
  command.add_option("--home-slack", home_slack, "A home holds at most (1 + this) x the mean")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  command
      .add_option("--step-tokens", step_tokens, "Requests that run at once in a home, for per-step figures")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  command.add_option("--model", model, kModelHelp);
  command.add_option("--threads", threads, "Threads; 0 = one a core")->capture_default_str();
}

void PlanOptions::add_planning(CLI::App& command) {
  command.add_option("--slots-per-gpu", slots_per_gpu, "Slots a GPU and layer");
  command.add_option("--extra-slots", extra_slots, "Replica slots a layer, all GPUs together");
  command.add_option("--memory-gib", memory_gib, "Memory for expert weights on one GPU, all layers");
  command
      .add_option("--expert-groups", expert_groups,
                  "Expert groups of the router (EPLB's hierarchical policy)")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  auto* const of_layer = command.add_option("--max-imbalance", max_imbalance,
                                            "Most max/mean of rows, per layer, on nodes and GPUs");
  command
      .add_option(
          "--mean-imbalance", mean_imbalance,
          "Most max/mean of rows on nodes, mean over layers, as unseen requests find it (moesaic without "
          "replicas)")
      ->check(CLI::Range(1.0, 1e6))
      ->excludes(of_layer);
  command
      .add_option(
          "--optimize", optimize,
          "Copies that count: dedup (one a node, prefill) or per-expert (one a row, low latency); plan "
          "alone: time or time-per-expert, the modelled time of those kernels (--hardware, --batch)")
      ->capture_default_str();
  command
      .add_option("--domains", domains,
                  "Only requests of these domains (comma-separated); !A,B = all but A and B")
      ->delimiter(',');
  command
      .add_option(
          "--pin", pins,
          "LAYER:EXPERT:NODE[.GPU], comma-separated: a copy of the expert stays there (layer *: all); "
          "@FILE: a pin a line")
      ->delimiter(',');
  command
      .add_option("--missing-gpus", missing_gpus,
                  "GPUs to leave out, node by node from 0; nodes must keep as many each, or none")
      ->delimiter(',');
  command.add_option("--effort", effort, "Work units of a search")->capture_default_str();
  command.add_option("--seed", seed, "Seed of the held-out split and of random choices")
      ->capture_default_str();
}

namespace {

/// Codes of the domains that an option names.
Result<std::vector<std::uint16_t>> domain_codes(std::string_view option, std::vector<std::string> names,
                                                const trace::Trace& trace) {
  const bool but = !names.empty() && names.front().starts_with('!');
  if (but) names.front().erase(0, 1);
  const std::vector<std::string>& known = trace.requests().domains;
  std::vector<bool> named(known.size());
  for (const std::string& name : names) {
    const auto found = std::ranges::find(known, name);
    if (found == known.end()) {
      return bad_input(fmt::format("{} {}: {} has no such domain; `moesaic info` lists its {}.", option, name,
                                   trace.path(), known.size()));
    }
    named[static_cast<std::size_t>(found - known.begin())] = true;
  }
  std::vector<std::uint16_t> codes;
  for (std::size_t code = 0; code < known.size(); ++code) {
    if (named[code] != but) codes.push_back(static_cast<std::uint16_t>(code));
  }
  if (codes.empty()) return bad_input(fmt::format("{}: leaves no domain; name fewer after the !.", option));
  return codes;
}

Result<std::vector<placement::Pin>> pins_of(io::FileSystem& files, const std::vector<std::string>& texts,
                                            const ModelShape& shape) {
  std::vector<placement::Pin> pins;
  for (const std::string& text : texts) {
    std::vector<placement::Pin> more;
    if (text.starts_with('@')) {
      const std::string path = text.substr(1);
      MOESAIC_ASSIGN(const std::string file, io::read_file(files, path, limits::kMaxConfigBytes));
      MOESAIC_ASSIGN(more, planning::parse_pin_file(file, shape, path));
    } else {
      MOESAIC_ASSIGN(more, planning::parse_pin(text, shape, "--pin"));
    }
    pins.insert(pins.end(), more.begin(), more.end());
  }
  return pins;
}

}  // namespace

Result<UsableGpus> usable_gpus(const PlanOptions& options) {
  Cluster cluster{.whole = {.nodes = options.nodes, .gpus_per_node = options.gpus_per_node}, .missing = {}};
  MOESAIC_TRY(validate(cluster.whole));
  if (options.missing_gpus.empty()) return UsableGpus{.topology = cluster.whole, .cluster = {}};
  for (const std::uint32_t gpu : options.missing_gpus) cluster.missing.push_back(GpuId(gpu));
  std::ranges::sort(cluster.missing);
  MOESAIC_ASSIGN(const Topology left, remaining(cluster));
  return UsableGpus{.topology = left, .cluster = std::move(cluster)};
}

Result<planning::PlaceOptions> place_options(const PlanOptions& options, const Resolved& resolved,
                                             const std::string& algorithm) {
  const bool time = options.optimizes_time();
  if (options.optimize != "dedup" && options.optimize != "per-expert" && !time) {
    return bad_input(
        fmt::format("--optimize {}: expected dedup, per-expert, time or time-per-expert.", options.optimize));
  }
  return planning::PlaceOptions{
      .algorithm = algorithm,
      .slots_per_gpu = resolved.slots_per_gpu,
      .objective = {.rule = resolved.rule, .attention = resolved.split.attention, .seed = options.seed},
      .seed = options.seed,
      .effort = options.effort,
      .expert_groups = options.expert_groups,
      .max_imbalance = options.max_imbalance,
      .mean_imbalance = options.mean_imbalance,
      .pins = resolved.pins,
      .per_expert = options.counts_rows()};
}

Result<std::optional<cost::ModelPreset>> preset_of(io::FileSystem& files, const std::string& model,
                                                   const trace::Trace& trace) {
  if (!model.empty()) return cost::named_model(files, model);
  const auto by_name = cost::find_preset(trace.shape().model);
  return by_name ? std::optional(**by_name) : std::nullopt;
}

Result<std::vector<std::uint32_t>> recorded_again(const trace::Trace& trace, ThreadPool& pool) {
  MOESAIC_ASSIGN(const std::vector<std::uint32_t> first, trace::first_identical(trace, pool));
  std::vector<std::uint32_t> rows;
  for (std::uint32_t r = 0; r < first.size(); ++r) {
    if (first[r] != r) rows.push_back(r);
  }
  return rows;
}

Result<Resolved> resolve(io::FileSystem& files, const PlanOptions& options, const trace::Trace& trace,
                         ThreadPool& pool) {
  Resolved resolved;
  MOESAIC_ASSIGN(UsableGpus usable, usable_gpus(options));
  resolved.split.topology = usable.topology;
  resolved.cluster = std::move(usable.cluster);
  MOESAIC_ASSIGN(resolved.pins, pins_of(files, options.pins, trace.shape()));
  if (options.attention != "dp" && options.attention != "tp") {
    return bad_input(fmt::format("--attention {}: expected dp or tp.", options.attention));
  }
  resolved.split.attention =
      options.attention == "dp" ? Attention::kDataParallel : Attention::kTensorParallel;
  resolved.split.seed = options.seed;
  MOESAIC_ASSIGN(resolved.rule, dispatch::parse_rule(options.dispatch));
  MOESAIC_ASSIGN(resolved.split.unseen.mode, grouping::parse_assign_mode(options.assign, options.oracles));
  resolved.split.unseen.slack = options.home_slack;
  resolved.split.unseen.seed = options.seed;

  MOESAIC_ASSIGN(const std::optional<cost::ModelPreset> preset, preset_of(files, options.model, trace));
  resolved.bytes_per_copy = std::numeric_limits<double>::quiet_NaN();
  if (preset) {
    resolved.bytes_per_copy = static_cast<double>(cost::copy_bytes(*preset));
    resolved.expert_bytes = static_cast<double>(cost::expert_bytes(*preset));
  } else {
    resolved.said.push_back("The model has no preset: bytes are not known (give --model).");
  }
  if (trace.kind() == trace::Kind::kTokens) {
    MOESAIC_ASSIGN(const evaluate::PhaseChoice chosen,
                   evaluate::choose_phases(trace, options.phase, options.predict_from));
    if (!options.domains.empty()) {
      MOESAIC_ASSIGN(resolved.split.domains, domain_codes("--domains", options.domains, trace));
    }
    if (!options.score_domains.empty()) {
      MOESAIC_ASSIGN(resolved.split.scored_domains,
                     domain_codes("--score-domains", options.score_domains, trace));
    }
    MOESAIC_ASSIGN(resolved.split.left_out, recorded_again(trace, pool));
    if (const std::size_t n = resolved.split.left_out.size(); n > 0) {
      resolved.said.push_back(fmt::format(
          "{} requests are another one recorded again, token for token: left out of planning and score.", n));
    }
    resolved.split.phase = chosen.phase;
    resolved.split.from = chosen.from;
    resolved.said.insert(resolved.said.end(), chosen.said.begin(), chosen.said.end());
  } else {
    resolved.split.phase = Phase::kAll;
    if (options.phase) {
      MOESAIC_ASSIGN(resolved.split.phase, parse_phase(*options.phase));
    }
  }
  MOESAIC_ASSIGN(resolved.slots_per_gpu,
                 planning::slots_per_gpu({.slots_per_gpu = options.slots_per_gpu,
                                          .extra_slots = options.extra_slots,
                                          .memory_gib = options.memory_gib},
                                         resolved.split.topology, trace.shape().experts,
                                         trace.shape().layers.size(), resolved.expert_bytes));
  return resolved;
}

}  // namespace moesaic::app
