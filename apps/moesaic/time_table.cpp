#include "time_table.hpp"

#include <fmt/format.h>

#include "report/table.hpp"

namespace moesaic::app {
namespace {

double microseconds(Nanoseconds time) { return static_cast<double>(time.count()) / 1e3; }

/// One placement and kind of kernel: means, and against linear.
struct Figures {
  double dispatch_us = 0, experts_us = 0, combine_us = 0, layer_us = 0, balanced_layer_us = 0;
  double moe_ms = 0, step_ms = 0, tokens_per_second = 0;
};

Figures figures(const TimeReport& report, const evaluate::ModeTime& time) {
  const auto layers = static_cast<double>(report.shape.layers.size());
  const auto steps = static_cast<double>(report.timed.steps);
  const Nanoseconds rest =
      report.assumed.fixed_per_layer * static_cast<std::int64_t>(report.shape.model_layers) +
      Nanoseconds(report.assumed.per_token.count() * static_cast<std::int64_t>(report.tokens_per_gpu) / 1000);
  Figures f{.dispatch_us = microseconds(time.sum.dispatch) / (layers * steps),
            .experts_us = microseconds(time.sum.experts) / (layers * steps),
            .combine_us = microseconds(time.sum.combine) / (layers * steps),
            .layer_us = microseconds(time.sum.total()) / (layers * steps),
            .balanced_layer_us = microseconds(time.balanced) / (layers * steps)};
  f.moe_ms = f.layer_us * layers / 1e3;
  f.step_ms = f.moe_ms + microseconds(rest) / 1e3;
  f.tokens_per_second = static_cast<double>(report.timed.tokens) / steps / f.step_ms * 1e3;
  return f;
}

struct Mode {
  const char* key;
  const char* shown;
  evaluate::ModeTime evaluate::StepTimes::* time;
};
constexpr Mode kModes[] = {{"dedup", "dedup", &evaluate::StepTimes::dedup},
                           {"per_expert", "per-exp", &evaluate::StepTimes::per_expert}};
constexpr std::size_t kLinear = 1;

Figures figures(const TimeReport& report, std::size_t placement, const Mode& mode) {
  return figures(report, report.timed.placements[placement].*mode.time);
}

Json to_json(const Figures& f, const Figures& linear) {
  Json json;
  json["dispatch_us"] = f.dispatch_us;
  json["experts_us"] = f.experts_us;
  json["combine_us"] = f.combine_us;
  json["layer_us"] = f.layer_us;
  json["balanced_layer_us"] = f.balanced_layer_us;
  json["moe_ms"] = f.moe_ms;
  json["step_ms"] = f.step_ms;
  json["tokens_per_second"] = f.tokens_per_second;
  json["moe_over_linear"] = f.moe_ms / linear.moe_ms;
  json["step_over_linear"] = f.step_ms / linear.step_ms;
  return json;
}

}  // namespace

void TimeOptions::add(CLI::App& command) {
  command.add_flag("--time", on, "Model a decode step: us a layer, ms a step, tokens/s");
  command.add_option("--hardware", hardware, "Of modelled times: h100, h20, h200 or h800")
      ->capture_default_str();
  command.add_option("--batch", batch, "Of modelled times: tokens a GPU and step")
      ->capture_default_str()
      ->check(CLI::Range(1, 1'000'000));
}

Result<TimeReport> time_report(const TimeOptions& options, const cost::ModelPreset* preset,
                               const evaluate::SelectedTokens& tokens, const Homes& homes,
                               std::span<const planning::NamedPlacement> placements,
                               const traffic::Objective& objective, ThreadPool& pool) {
  const trace::Trace& trace = tokens.source();
  if (preset == nullptr) {
    return bad_input(fmt::format(
        "--time: model \"{}\" of {} has no preset, so bytes are not known; name one that fits with --model.",
        trace.shape().model, trace.path()));
  }
  MOESAIC_ASSIGN(const cost::HardwarePreset* const hardware, cost::find_hardware(options.hardware));
  TimeReport report{.hardware = hardware->name,
                    .model = *preset,
                    .shape = trace.shape(),
                    .tokens_per_gpu = options.batch,
                    .assumed = {},
                    .timed = {},
                    .names = {},
                    .said = {}};
  std::vector<const Placement*> timed;
  for (const planning::NamedPlacement& named : placements) {
    report.names.push_back(named.name);
    timed.push_back(named.placement);
  }
  const double memory = static_cast<double>(hardware->memory_bytes);
  for (std::size_t p = 0; p < timed.size(); ++p) {
    const std::size_t slots = timed[p]->slots_per_gpu();
    if (p > 0 && timed[p - 1]->slots_per_gpu() == slots) continue;  // said
    const double weights = static_cast<double>(slots * trace.shape().layers.size()) *
                           static_cast<double>(cost::expert_bytes(*preset));
    if (weights <= memory) continue;
    report.said.push_back(fmt::format("{} slots a GPU do not fit: {} of expert weights, {} has {} of memory.",
                                      slots, report::bytes(weights), hardware->name, report::bytes(memory)));
  }
  const cost::LayerCosts costs =
      cost::layer_costs(*preset, *hardware, timed[0]->topology(), report.assumed.memory_efficiency);
  MOESAIC_ASSIGN(report.timed,
                 evaluate::time_placements(
                     tokens, homes, timed,
                     {.objective = objective, .tokens_per_gpu = options.batch, .costs = costs}, pool));
  return report;
}

double step_ms(const TimeReport& report, const evaluate::ModeTime& time) {
  return figures(report, time).step_ms;
}

std::string time_table(const TimeReport& report) {
  report::Table table({"placement", "kernel", "dispatch\nus", "experts\nus", "combine\nus", "layer\nus",
                       "balanced\nus", "step\nms", "tokens/s", "MoE vs\nlinear", "step vs\nlinear"});
  for (const Mode& mode : kModes) {
    const Figures linear = figures(report, kLinear, mode);
    for (std::size_t p = 0; p < report.names.size(); ++p) {
      const Figures f = figures(report, p, mode);
      table.add({report.names[p], mode.shown, report::number(f.dispatch_us, 1),
                 report::number(f.experts_us, 1), report::number(f.combine_us, 1),
                 report::number(f.layer_us, 1), report::number(f.balanced_layer_us, 1),
                 report::number(f.step_ms, 3), report::number(f.tokens_per_second, 0),
                 report::number(f.moe_ms / linear.moe_ms, 3), report::number(f.step_ms / linear.step_ms, 3)});
    }
  }
  return fmt::format(
      "Modelled, not measured (docs/cost.md): {} on {}, {} tokens a GPU, {} steps\n{}"
      "A layer is dispatch + experts + combine, each as long as its slowest GPU; balanced = the same work\n"
      "spread evenly. A step adds {} us a model layer and {} us a token for all that is not MoE.\n",
      report.model.name, report.hardware, report.tokens_per_gpu, report.timed.steps, table.text(),
      report::number(microseconds(report.assumed.fixed_per_layer), 0),
      report::number(static_cast<double>(report.assumed.per_token.count()) / 1e6, 1));
}

Json time_json(const TimeReport& report) {
  Json json;
  json["hardware"] = report.hardware;
  json["model"] = report.model.name;
  json["tokens_per_gpu"] = report.tokens_per_gpu;
  json["steps"] = report.timed.steps;
  json["tokens"] = report.timed.tokens;
  json["requests_per_home"] = report.timed.requests_per_home;
  json["efficiency"] = report.assumed.memory_efficiency;
  json["rest_us_per_layer"] = microseconds(report.assumed.fixed_per_layer);
  json["rest_us_per_token"] = static_cast<double>(report.assumed.per_token.count()) / 1e6;
  for (std::size_t p = 0; p < report.names.size(); ++p) {
    Json& slot = p == 0 ? json["plan"] : json["baselines"][report.names[p]];
    for (const Mode& mode : kModes) {
      slot[mode.key] = to_json(figures(report, p, mode), figures(report, kLinear, mode));
    }
  }
  return json;
}

}  // namespace moesaic::app
