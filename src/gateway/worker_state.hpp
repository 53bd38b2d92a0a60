// Whether a worker may get requests: health checks, outlier ejection, draining. Time comes with the events;
// no sockets.
#pragma once

#include <cstdint>
#include <string_view>

#include "core/clock.hpp"
#include "gateway/config.hpp"

namespace moesaic::gateway {

class WorkerState {
 public:
  enum class Is { kStarting, kUp, kDown, kEjected, kDraining };

  Is is(Nanoseconds now) const;
  bool routable(Nanoseconds now) const { return is(now) == Is::kUp; }

  void health_check(bool good, const HealthOptions& options);
  /// No connection can be made: down until a check says otherwise.
  void unreachable();
  /// A request got an answer that does not blame the worker.
  void succeeded() { failures_ = 0; }
  /// A request failed there. `may_eject`: enough others are left. True when it is ejected by this.
  bool failed(Nanoseconds now, const HealthOptions& options, bool may_eject);
  void drain(bool draining) { draining_ = draining; }
  bool draining() const { return draining_; }
  std::uint32_t ejections() const { return ejections_; }

 private:
  bool checked_ = false, healthy_ = false, draining_ = false;
  std::uint32_t good_ = 0, bad_ = 0, failures_ = 0, ejections_ = 0;
  Nanoseconds ejected_until_{0};
};

std::string_view to_string(WorkerState::Is is);

}  // namespace moesaic::gateway
