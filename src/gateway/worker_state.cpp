#include "gateway/worker_state.hpp"

#include <algorithm>

namespace moesaic::gateway {

std::string_view to_string(WorkerState::Is is) {
  switch (is) {
    case WorkerState::Is::kStarting:
      return "starting";
    case WorkerState::Is::kUp:
      return "up";
    case WorkerState::Is::kDown:
      return "down";
    case WorkerState::Is::kEjected:
      return "ejected";
    case WorkerState::Is::kDraining:
      return "draining";
  }
  return "";
}

WorkerState::Is WorkerState::is(Nanoseconds now) const {
  if (draining_) return Is::kDraining;
  if (!checked_) return Is::kStarting;
  if (!healthy_) return Is::kDown;
  return now < ejected_until_ ? Is::kEjected : Is::kUp;
}

void WorkerState::health_check(bool good, const HealthOptions& options) {
  if (good) {
    bad_ = 0;
    ++good_;
    // The first check ever decides at once: a gateway that starts must not wait to serve.
    if (!checked_ || good_ >= options.recover_after) healthy_ = true;
  } else {
    good_ = 0;
    ++bad_;
    if (!checked_ || bad_ >= options.fail_after) healthy_ = false;
  }
  checked_ = true;
}

void WorkerState::unreachable() {
  checked_ = true;
  healthy_ = false;
  good_ = 0;
}

bool WorkerState::failed(Nanoseconds now, const HealthOptions& options, bool may_eject) {
  ++failures_;
  if (options.eject_after == 0 || failures_ < options.eject_after || !may_eject) return false;
  failures_ = 0;
  ejections_ = std::min(ejections_ + 1, 10u);
  ejected_until_ = now + options.eject_for * ejections_;
  return true;
}

}  // namespace moesaic::gateway
