#include "traffic/flows.hpp"

#include <algorithm>

#include "core/check.hpp"
#include "traffic/rows.hpp"

namespace moesaic::traffic {
namespace {

struct Pair {
  std::size_t step, from, to;
};

}  // namespace

StepFlows step_flows(const LayerTokens& tokens, const Topology& topology, std::size_t experts,
                     std::span<const ExpertId> slots, const Objective& objective, const Steps& steps) {
  const std::size_t gpus = topology.gpus();
  StepFlows flows;
  flows.dedup.resize(steps.count * gpus);
  flows.per_expert.resize(steps.count * gpus);
  std::vector<bool> read(steps.count * gpus * experts);
  const auto node_copy = [&](std::vector<cost::GpuWork>& work, Pair p) {
    ++work[p.step * gpus + p.from].node_out;
    ++work[p.step * gpus + p.to].node_in;
  };
  const auto gpu_copy = [&](std::vector<cost::GpuWork>& work, Pair p) {
    ++work[p.step * gpus + p.from].gpu_out;
    ++work[p.step * gpus + p.to].gpu_in;
  };
  std::vector<std::size_t> used;  // GPUs of the token that have their copy
  const auto first_use = [&](std::size_t gpu) {
    if (std::ranges::find(used, gpu) != used.end()) return false;
    used.push_back(gpu);
    return true;
  };
  for_each_row(tokens, topology, experts, slots, objective, [&](std::size_t token, GpuId source) {
    used.assign(1, index(source));
    return [&, step = std::size_t{steps.of_token[token]}, source](ExpertId expert, GpuId gpu) {
      if (step == kNoStep) return;
      const Pair direct{step, index(source), index(gpu)};
      if (topology.node_of(gpu) != topology.node_of(source)) {
        node_copy(flows.per_expert, direct);
      } else if (gpu != source) {
        gpu_copy(flows.per_expert, direct);
      }
      const std::size_t landing = index(topology.gpu(topology.node_of(gpu), topology.local_index(source)));
      if (first_use(landing)) node_copy(flows.dedup, {step, index(source), landing});
      if (first_use(index(gpu))) gpu_copy(flows.dedup, {step, landing, index(gpu)});
      const std::size_t at = step * gpus + index(gpu);
      ++flows.dedup[at].rows;
      const std::size_t weights = at * experts + index(expert);
      if (!read[weights]) ++flows.dedup[at].experts;
      read[weights] = true;
    };
  });
  for (std::size_t at = 0; at < flows.dedup.size(); ++at) {
    flows.per_expert[at].rows = flows.dedup[at].rows;
    flows.per_expert[at].experts = flows.dedup[at].experts;
  }
  return flows;
}

Steps make_even_steps(std::span<const Segment> segments, std::size_t homes, std::size_t tokens_per_step) {
  MOESAIC_CHECK(tokens_per_step > 0);
  std::vector<std::vector<const Segment*>> running(homes);
  std::vector<std::size_t> home_tokens(homes);
  std::size_t tokens = 0;
  for (const Segment& segment : segments) {
    running.at(index(segment.home)).push_back(&segment);
    home_tokens[index(segment.home)] += segment.count;
    tokens += segment.count;
  }
  Steps steps{.count = tokens / tokens_per_step, .of_token = {}};
  steps.of_token.assign(tokens, kNoStep);
  if (steps.count == 0) return steps;
  for (std::size_t home = 0; home < homes; ++home) {
    std::vector<const Segment*>& requests = running[home];
    const std::size_t quota = home_tokens[home] * (steps.count * tokens_per_step) / tokens;
    std::size_t so_far = 0;
    for (std::size_t j = 0; so_far < quota; ++j) {
      std::erase_if(requests, [&](const Segment* request) { return request->count <= j; });
      for (const Segment* request : requests) {
        if (so_far == quota) break;
        steps.of_token[request->begin + j] = static_cast<std::uint32_t>(so_far++ * steps.count / quota);
      }
    }
  }
  return steps;
}

}  // namespace moesaic::traffic
