#include "simulate/cluster.hpp"

#include <fmt/format.h>

namespace moesaic::simulate {

Status validate(const DecodePool& pool) {
  std::vector<bool> up(pool.ever());
  std::fill_n(up.begin(), pool.workers, true);
  std::size_t count = pool.workers;
  Nanoseconds before{0};
  for (const FleetEvent& event : pool.events) {
    const auto at = std::chrono::duration<double>(event.at).count();
    if (event.at < before)
      return bad_input(fmt::format("events: {} s comes after a later one; order them by time.", at));
    before = event.at;
    if (up[event.worker] == event.up) {
      return bad_input(
          fmt::format("events: worker {} is {} already at {} s; workers 0 to {} are up from the start.",
                      event.worker, event.up ? "up" : "down", at, pool.workers - 1));
    }
    up[event.worker] = event.up;
    count = event.up ? count + 1 : count - 1;
    if (count == 0)
      return bad_input(fmt::format("events: no decode worker is left at {} s; leave one up.", at));
  }
  return {};
}

}  // namespace moesaic::simulate
