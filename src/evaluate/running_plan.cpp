#include "evaluate/running_plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <ranges>
#include <span>
#include <vector>

namespace moesaic::evaluate {
namespace {

/// Slots of one GPU that hold what the plan does not give it, as multisets.
std::size_t misplaced(std::span<const ExpertId> engine, std::span<const ExpertId> plan) {
  std::vector<ExpertId> a(engine.begin(), engine.end()), b(plan.begin(), plan.end()), only;
  std::ranges::sort(a);
  std::ranges::sort(b);
  std::ranges::set_difference(a, b, std::back_inserter(only));
  return only.size();
}

bool is_default(std::span<const ExpertId> slots, std::size_t experts) {
  for (std::size_t slot = 0; slot < slots.size(); ++slot) {
    if (index(slots[slot]) != slot % experts) return false;
  }
  return true;
}

}  // namespace

Result<RunningPlan> compare_with_engine(const ModelShape& shape, const Placement& placement,
                                        const EngineMap& map) {
  const std::size_t rows = placement.layers().size();
  const bool by_model_layer = map.layers == shape.model_layers;
  if (!by_model_layer && map.layers != rows) {
    return bad_input(fmt::format(
        "the engine's map has {} layers, the plan's model {} of which {} are MoE layers; is it a dump of the "
        "same model?",
        map.layers, shape.model_layers, rows));
  }
  RunningPlan out{.layers = rows,
                  .slots_per_layer = placement.slots(),
                  .engine_slots_per_layer = map.slots,
                  .first_different = {}};
  if (map.slots != placement.slots()) {
    out.misplaced_slots = rows * placement.slots();
    out.first_different = placement.layers()[0];
    return out;
  }
  const std::size_t on_gpu = placement.slots_per_gpu();
  for (std::size_t row = 0; row < rows; ++row) {
    const std::size_t from = by_model_layer ? index(placement.layers()[row]) : row;
    const auto engine = std::span(map.logical).subspan(from * map.slots, map.slots);
    const auto plan = placement.layer(row);
    if (const auto most = std::ranges::max(engine); index(most) >= placement.experts()) {
      return bad_input(fmt::format("the engine's map holds expert {} in layer {}, the plan's model has {}",
                                   index(most), from, placement.experts()));
    }
    out.engine_default += is_default(engine, placement.experts()) ? 1 : 0;
    if (std::ranges::equal(engine, plan)) {
      ++out.equal;
      continue;
    }
    std::size_t wrong = 0;
    for (std::size_t slot = 0; slot < map.slots; slot += on_gpu) {
      wrong += misplaced(engine.subspan(slot, on_gpu), plan.subspan(slot, on_gpu));
    }
    out.misplaced_slots += wrong;
    if (wrong == 0) {
      ++out.same_gpus;
    } else if (!out.first_different) {
      out.first_different = placement.layers()[row];
    }
  }
  return out;
}

}  // namespace moesaic::evaluate
