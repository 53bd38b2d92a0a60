#include "placement/transfers.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/check.hpp"
#include "placement/algorithms.hpp"

namespace moesaic::placement {

Result<Placement> running_placement(const Problem& problem) {
  const ModelShape& shape = problem.demand.shape();
  if (problem.from == nullptr) {
    MOESAIC_ASSIGN(Solution start, linear().place(problem));
    return std::move(start.placement);
  }
  const Placement& from = *problem.from;
  if (from.topology() != problem.topology || from.slots_per_gpu() != problem.slots_per_gpu) {
    return bad_input(fmt::format(
        "The plan to start from is for {} nodes x {} GPUs with {} slots each, asked for are {} x {} with {}; "
        "re-plan with the same topology and slots, or make a new plan.",
        from.topology().nodes, from.topology().gpus_per_node, from.slots_per_gpu(), problem.topology.nodes,
        problem.topology.gpus_per_node, problem.slots_per_gpu));
  }
  if (from.layers() != shape.layers || from.experts() != shape.experts) {
    return bad_input(fmt::format(
        "The plan to start from has {} layers of {} experts, the trace {} of {}: they are of different "
        "models; give a plan of this model.",
        from.layers().size(), from.experts(), shape.layers.size(), shape.experts));
  }
  return from;
}

Transfers transfers(const Placement& from, const Placement& to) {
  MOESAIC_CHECK(from.topology() == to.topology() && from.layers() == to.layers() &&
                from.slots() == to.slots());
  Transfers result;
  const std::size_t per_gpu = to.slots_per_gpu(), per_node = per_gpu * to.topology().gpus_per_node;
  for (std::size_t row = 0; row < to.layers().size(); ++row) {
    for (std::size_t gpu = 0; gpu < to.topology().gpus(); ++gpu) {
      const auto held = from.layer(row).subspan(gpu * per_gpu, per_gpu);
      const auto wanted = to.layer(row).subspan(gpu * per_gpu, per_gpu);
      const auto near = from.layer(row).subspan(gpu * per_gpu / per_node * per_node, per_node);
      std::vector<ExpertId> left(held.begin(), held.end());
      for (const ExpertId expert : wanted) {
        const auto kept = std::ranges::find(left, expert);
        if (kept != left.end()) {
          left.erase(kept);
          continue;
        }
        ++result.slots;
        if (std::ranges::count(near, expert) == 0) ++result.inter_node;
      }
    }
  }
  return result;
}

Placement keep_slots(const Placement& from, const Placement& to) {
  MOESAIC_CHECK(from.topology() == to.topology() && from.layers() == to.layers() &&
                from.slots() == to.slots());
  std::vector<ExpertId> slots(to.all_slots().size(), kMissingExpert);
  const std::size_t per_gpu = to.slots_per_gpu();
  for (std::size_t first = 0; first < slots.size(); first += per_gpu) {
    const auto held = from.all_slots().subspan(first, per_gpu),
               wanted = to.all_slots().subspan(first, per_gpu);
    const auto out = std::span(slots).subspan(first, per_gpu);
    std::vector<ExpertId> fresh;
    for (const ExpertId expert : wanted) {
      std::size_t slot = 0;
      while (slot < per_gpu && !(held[slot] == expert && out[slot] == kMissingExpert)) ++slot;
      if (slot < per_gpu) {
        out[slot] = expert;
      } else {
        fresh.push_back(expert);
      }
    }
    std::size_t next = 0;
    for (ExpertId& slot : out) {
      if (slot == kMissingExpert) slot = fresh[next++];
    }
  }
  auto made = Placement::make(to.topology(), to.layers(), to.experts(), per_gpu, std::move(slots));
  MOESAIC_CHECK(made.has_value());  // a permutation of a valid one
  return *std::move(made);
}

}  // namespace moesaic::placement
