// A small plan with every field in use: 2 MoE layers of 5, 4 experts, 2 nodes x 2 GPUs, 2 slots a GPU.
#pragma once

#include "artifact/plan.hpp"

namespace moesaic::artifact::testing {

inline std::vector<ExpertId> experts(std::initializer_list<int> ids) {
  std::vector<ExpertId> out;
  for (const int id : ids) out.push_back(ExpertId(static_cast<std::uint16_t>(id)));
  return out;
}

inline Plan sample_plan() {
  const ModelShape shape{
      .model = "sample", .model_layers = 5, .layers = {LayerId(1), LayerId(3)}, .experts = 4, .top_k = 2};
  auto placement = Placement::make({.nodes = 2, .gpus_per_node = 2}, shape.layers, shape.experts, 2,
                                   experts({0, 1, 2, 1, 0, 3, 1, 2, 3, 2, 1, 0, 0, 2, 3, 1}));
  Plan plan{.made_by = "moesaic 0.1.0", .shape = shape, .placement = std::move(*placement)};
  plan.attention = Attention::kDataParallel;
  plan.dispatch = dispatch::Rule::kSglang;
  plan.algorithm = {.name = "patterns", .seed = 7, .effort = 2, .expert_groups = 2, .max_imbalance = 1.25};
  plan.algorithm.options["replicas"] = true;
  plan.source = {.trace_digest = "00ff",
                 .trace_name = "sample.zarr",
                 .requests = "train",
                 .split_seed = 7,
                 .heldout_share = 0.2,
                 .phase = Phase::kDecode,
                 .predict_from = {.prefill = false, .fraction = 0.5, .max = 48},
                 .windows = std::pair{0u, 3u}};
  plan.loads = {4, 0, 2.5, 1, 0.1, 3, 3, 1e21};
  plan.homes = {{"r1", HomeId(0)}, {"r\xC3\xA9", HomeId(3)}};
  plan.assigner = {.space = {.layers = {LayerId(3)},
                             .rows = {1},
                             .experts = 4,
                             .transform = signature::Transform::kCountIdf,
                             .idf = {0.1f, 0, 1, 2.5f}},
                   .prototypes = {1, 0, 0, 0, 0, 0.6f, 0.8f, 0, 0, 0, 0, 0, 0, 0, 0, 1},
                   .capacities = {0.25, 0.25, 0.25, 0.25}};
  plan.constraints_met = false;
  plan.label = Label::kTimeLimited;
  plan.notes = {"Layer 3 does not meet the limit."};
  plan.score["heldout"] = 1.5;
  return plan;
}

}  // namespace moesaic::artifact::testing
