#include "placement/pins.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>

namespace moesaic::placement {
namespace {

std::string place_text(LayerId layer, const Pin& pin) {
  const std::string on = pin.gpu == Pin::kAnyGpu ? fmt::format("node {}", pin.node)
                                                 : fmt::format("GPU {} of node {}", pin.gpu, pin.node);
  return fmt::format("layer {} expert {} on {}", index(layer), index(pin.expert), on);
}

Status check_range(const Pin& pin, const ModelShape& shape, const Topology& topology) {
  if (pin.row >= shape.layers.size()) {
    return bad_input(
        fmt::format("--pin: MoE layer number {}, expected below {}.", pin.row, shape.layers.size()));
  }
  const bool known_gpu = pin.gpu == Pin::kAnyGpu || pin.gpu < topology.gpus_per_node;
  if (index(pin.expert) >= shape.experts || pin.node >= topology.nodes || !known_gpu) {
    return bad_input(fmt::format(
        "--pin: {}: expected an expert below {}, a node below {} and a GPU below {}.",
        place_text(shape.layers[pin.row], pin), shape.experts, topology.nodes, topology.gpus_per_node));
  }
  return {};
}

/// Counts of one layer's pins against its slots.
class LayerCount {
 public:
  LayerCount(const ModelShape& shape, const Topology& topology, std::size_t slots_per_gpu)
      : shape_(shape), topology_(topology), per_gpu_(slots_per_gpu) {}

  Status add(const Pin& pin) {
    const LayerId layer = shape_.layers[pin.row];
    const std::size_t on_node = ++node_[pin.node];
    if (on_node > per_gpu_ * topology_.gpus_per_node) {
      return bad_input(
          fmt::format("--pin: layer {} has {} experts or more pinned to node {}, which has {} slots.",
                      index(layer), on_node, pin.node, per_gpu_ * topology_.gpus_per_node));
    }
    if (pin.gpu != Pin::kAnyGpu && ++gpu_[{pin.node, pin.gpu}] > per_gpu_) {
      return bad_input(fmt::format(
          "--pin: layer {} has {} experts or more pinned to GPU {} of node {}, which has {} slots.",
          index(layer), per_gpu_ + 1, pin.gpu, pin.node, per_gpu_));
    }
    extra_ += ++copies_[pin.expert] > 1 ? 1 : 0;
    const std::size_t spare = topology_.gpus() * per_gpu_ - shape_.experts;
    if (extra_ > spare) {
      return bad_input(fmt::format(
          "--pin: layer {} pins {} copies beyond one an expert, and {} slots for {} experts leave {}; "
          "pin expert {} once, or give more slots (--extra-slots).",
          index(layer), extra_, topology_.gpus() * per_gpu_, shape_.experts, spare, index(pin.expert)));
    }
    return {};
  }

 private:
  const ModelShape& shape_;
  const Topology& topology_;
  std::size_t per_gpu_, extra_ = 0;
  std::map<std::uint16_t, std::size_t> node_;
  std::map<std::pair<std::uint16_t, std::uint16_t>, std::size_t> gpu_;
  std::map<ExpertId, std::size_t> copies_;
};

}  // namespace

Result<std::vector<Pin>> checked_pins(std::vector<Pin> pins, const ModelShape& shape,
                                      const Topology& topology, std::size_t slots_per_gpu) {
  std::ranges::sort(pins);  // of one expert and node those that name a GPU come before kAnyGpu
  std::vector<Pin> kept;
  std::optional<LayerCount> count;
  for (const Pin& pin : pins) {
    MOESAIC_TRY(check_range(pin, shape, topology));
    const bool same_place = !kept.empty() && kept.back().row == pin.row && kept.back().expert == pin.expert &&
                            kept.back().node == pin.node;
    if (same_place) {
      if (pin.gpu == Pin::kAnyGpu || pin.gpu == kept.back().gpu) continue;
      return bad_input(
          fmt::format("--pin: {} and on GPU {}: one GPU of a node is enough, its others reach it.",
                      place_text(shape.layers[pin.row], kept.back()), pin.gpu));
    }
    if (kept.empty() || kept.back().row != pin.row) count.emplace(shape, topology, slots_per_gpu);
    MOESAIC_TRY(count->add(pin));
    kept.push_back(pin);
  }
  return kept;
}

std::vector<Pin> unmet_pins(std::span<const Pin> pins, const Placement& placement) {
  std::vector<Pin> unmet;
  const std::size_t per_gpu = placement.slots_per_gpu(), gpus = placement.topology().gpus_per_node;
  for (const Pin& pin : pins) {
    const std::size_t first = pin.node * gpus + (pin.gpu == Pin::kAnyGpu ? 0 : pin.gpu);
    const std::size_t count = pin.gpu == Pin::kAnyGpu ? gpus : 1;
    const auto slots = placement.layer(pin.row).subspan(first * per_gpu, count * per_gpu);
    if (std::ranges::find(slots, pin.expert) == slots.end()) unmet.push_back(pin);
  }
  return unmet;
}

std::string to_string(const Pin& pin, const Placement& placement) {
  return place_text(placement.layers()[pin.row], pin);
}

}  // namespace moesaic::placement
