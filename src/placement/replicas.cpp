#include "placement/replicas.hpp"

#include <algorithm>

#include "core/check.hpp"

namespace moesaic::placement {

std::size_t serving_part(std::span<const std::uint16_t> parts, const RowClass& row_class) {
  if (row_class.source != RowClass::kNoSource) {
    for (const std::uint16_t part : parts) {
      if (part == row_class.source) return part;
    }
  }
  return parts[row_class.number % parts.size()];
}

std::vector<RowClass> node_classes(const Topology& topology, dispatch::Rule rule) {
  std::vector<RowClass> classes;
  if (rule == dispatch::Rule::kLocal || rule == dispatch::Rule::kSglang) {
    for (std::uint32_t g = 0; g < topology.gpus(); ++g) {
      classes.push_back(
          {.source = static_cast<std::uint32_t>(index(topology.node_of(GpuId(g)))), .number = g});
    }
  } else {
    for (std::uint32_t ordinal = 0; ordinal < kOrdinals; ++ordinal) classes.push_back({.number = ordinal});
  }
  return classes;
}

PatternTable class_patterns(const traffic::LayerTokens& tokens, const Topology& topology,
                            const traffic::Objective& objective, std::size_t experts,
                            const PatternOptions& options) {
  const std::size_t classes = node_classes(topology, objective.rule).size();
  std::vector<std::uint32_t> so_far(objective.rule == dispatch::Rule::kTrtllm ? experts * topology.gpus()
                                                                              : 0);
  const auto item_of = [&](std::size_t expert, const traffic::Segment& segment, std::size_t position,
                           std::size_t source) {
    std::size_t number = source;
    switch (objective.rule) {
      case dispatch::Rule::kLocal:
      case dispatch::Rule::kSglang:
        break;
      case dispatch::Rule::kVllm:
        number = position % kOrdinals;
        break;
      case dispatch::Rule::kTrtllm:
        number = (source + so_far[expert * topology.gpus() + source]++) % kOrdinals;
        break;
      case dispatch::Rule::kRandom:
        number = counter_hash({objective.seed, index(tokens.layer), segment.request, position, expert}) %
                 kOrdinals;
        break;
    }
    return static_cast<std::uint32_t>(expert * classes + number);
  };
  return mapped_patterns(tokens, topology, objective.attention, experts * classes, options, item_of);
}

std::vector<std::uint16_t> serving_parts(const ReplicaProblem& problem, const Holders& holders) {
  const std::size_t classes = problem.classes.size();
  std::vector<std::uint16_t> part(problem.table.item_count);
  for (std::size_t item = 0; item < part.size(); ++item) {
    part[item] =
        static_cast<std::uint16_t>(serving_part(holders[item / classes], problem.classes[item % classes]));
  }
  return part;
}

std::int64_t replica_cost(const ReplicaProblem& problem, const Holders& holders) {
  return connectivity_cost(problem.table, serving_parts(problem, holders));
}

}  // namespace moesaic::placement
