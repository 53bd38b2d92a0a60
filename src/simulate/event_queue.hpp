// The future: events by time, those of one instant in the order they were scheduled.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/clock.hpp"

namespace moesaic::simulate {

enum class EventKind : std::uint8_t {
  kArrival,
  kPrefillDone,
  kTransferred,
  kStepDone,
  kTick,
  kRefitted,
  kFleet
};

struct Event {
  std::int64_t at = 0;  ///< nanoseconds
  std::uint64_t order = 0;
  EventKind kind{};
  std::uint32_t subject = 0;  ///< a worker, a flight or the place of a fleet event
};

class EventQueue {
 public:
  /// Returns the event's order, by which it is known.
  std::uint64_t push(Nanoseconds at, EventKind kind, std::uint32_t subject) {
    heap_.push_back({at.count(), next_, kind, subject});
    std::push_heap(heap_.begin(), heap_.end(), later);
    return next_++;
  }
  bool empty() const { return heap_.empty(); }
  /// REQUIRES: not empty.
  Event pop() {
    std::pop_heap(heap_.begin(), heap_.end(), later);
    const Event event = heap_.back();
    heap_.pop_back();
    return event;
  }

 private:
  static bool later(const Event& a, const Event& b) { return a.at != b.at ? a.at > b.at : a.order > b.order; }
  std::vector<Event> heap_;
  std::uint64_t next_ = 0;
};

}  // namespace moesaic::simulate
