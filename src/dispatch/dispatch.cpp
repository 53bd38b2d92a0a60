#include "dispatch/dispatch.hpp"

#include <fmt/format.h>

#include "core/check.hpp"
#include "core/random.hpp"

namespace moesaic::dispatch {

std::string_view name(Rule rule) {
  switch (rule) {
    case Rule::kLocal:
      return "local";
    case Rule::kSglang:
      return "sglang";
    case Rule::kVllm:
      return "vllm";
    case Rule::kTrtllm:
      return "trtllm";
    case Rule::kRandom:
      break;
  }
  return "random";
}

Result<Rule> parse_rule(std::string_view text) {
  for (const Rule rule : kRules) {
    if (text == name(rule)) return rule;
  }
  return bad_input(fmt::format("--dispatch {}: expected local, sglang, vllm, trtllm or random", text));
}

Chooser::Chooser(const Topology& topology, std::size_t experts, std::span<const ExpertId> slots, Rule rule,
                 LayerId layer, std::uint64_t seed)
    : topology_(topology), rule_(rule), layer_(layer), seed_(seed), first_(experts + 1), gpus_(slots.size()) {
  MOESAIC_CHECK(slots.size() % topology.gpus() == 0);
  const std::size_t per_gpu = slots.size() / topology.gpus();
  for (const ExpertId expert : slots) {
    MOESAIC_CHECK(index(expert) < experts);
    ++first_[index(expert) + 1];
  }
  for (std::size_t e = 0; e < experts; ++e) first_[e + 1] += first_[e];
  std::vector<std::uint32_t> next(first_.begin(), first_.end() - 1);
  for (std::size_t slot = 0; slot < slots.size(); ++slot) {
    gpus_[next[index(slots[slot])]++] = GpuId(slot / per_gpu);
  }
  if (rule == Rule::kTrtllm) so_far_.resize(experts * topology.gpus());
}

GpuId Chooser::choose(const Row& row) {
  const std::span<const GpuId> all = candidates(row.expert);
  const std::size_t n = all.size();
  MOESAIC_CHECK(n > 0);
  if (n == 1) return all[0];
  switch (rule_) {
    case Rule::kVllm:
      return all[row.position % n];
    case Rule::kTrtllm: {
      std::uint32_t& rows = so_far_[index(row.expert) * topology_.gpus() + index(row.source)];
      return all[(index(row.source) + rows++) % n];
    }
    case Rule::kRandom:
      return all[counter_hash({seed_, index(layer_), row.request, row.position, index(row.expert)}) % n];
    case Rule::kLocal:
    case Rule::kSglang:
      break;
  }
  // Slot order is GPU order, so the candidates on one node are neighbours.
  const NodeId node = topology_.node_of(row.source);
  std::size_t begin = 0;
  while (begin < n && topology_.node_of(all[begin]) < node) ++begin;
  std::size_t end = begin;
  for (; end < n && topology_.node_of(all[end]) == node; ++end) {
    if (all[end] == row.source) return row.source;
  }
  if (begin == end) return all[index(row.source) % n];
  return all[rule_ == Rule::kSglang ? begin : begin + index(row.source) % (end - begin)];
}

}  // namespace moesaic::dispatch
