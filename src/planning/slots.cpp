#include "planning/slots.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace moesaic::planning {

Result<std::size_t> slots_per_gpu(const SlotRequest& request, const Topology& topology, std::size_t experts,
                                  std::size_t layers, double expert_bytes) {
  const std::size_t gpus = topology.gpus();
  const int given =
      (request.slots_per_gpu ? 1 : 0) + (request.extra_slots ? 1 : 0) + (request.memory_gib ? 1 : 0);
  if (given > 1)
    return bad_input("--slots-per-gpu, --extra-slots and --memory-gib: give at most one of them.");
  const std::size_t least = (experts + gpus - 1) / gpus;
  if (request.slots_per_gpu) {
    if (*request.slots_per_gpu < least) {
      return bad_input(fmt::format("--slots-per-gpu {}: {} experts on {} GPUs need at least {} slots a GPU.",
                                   *request.slots_per_gpu, experts, gpus, least));
    }
    return *request.slots_per_gpu;
  }
  if (request.memory_gib) {
    if (expert_bytes <= 0) {
      return bad_input(
          "--memory-gib: the size of an expert is not known; give --model, or use --slots-per-gpu.");
    }
    const double one_slot = expert_bytes * static_cast<double>(layers);
    const double slots = std::floor(*request.memory_gib * 0x1p30 / one_slot);
    if (!(slots >= static_cast<double>(least))) {
      return bad_input(
          fmt::format("--memory-gib {}: {} slots a GPU of {:.2f} GiB each over {} layers, expected {} "
                      "or more; one copy of every expert needs {:.2f} GiB a GPU.",
                      *request.memory_gib, slots, one_slot / 0x1p30, layers, least,
                      one_slot * static_cast<double>(least) / 0x1p30));
    }
    return static_cast<std::size_t>(std::min(slots, static_cast<double>(experts)));  // more serve nobody
  }
  const std::size_t extra = request.extra_slots.value_or(0), total = experts + extra;
  if (total % gpus != 0) {
    const std::size_t below = total / gpus * gpus, above = below + gpus;
    const std::string_view option = request.extra_option;
    const std::string lower =
        below >= experts ? fmt::format("{} {} or ", option, below - experts) : std::string();
    return bad_input(fmt::format("{} {}: {} experts + {} = {} slots do not divide by {} GPUs; use {}{} {}.",
                                 option, extra, experts, extra, total, gpus, lower, option, above - experts));
  }
  return total / gpus;
}

}  // namespace moesaic::planning
