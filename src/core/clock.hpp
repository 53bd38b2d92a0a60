// Time behind a seam. Everything that waits or measures takes a Clock.
#pragma once

#include <chrono>

namespace moesaic {

using Nanoseconds = std::chrono::nanoseconds;

class Clock {
 public:
  virtual ~Clock() = default;
  /// Monotonic, from an arbitrary start.
  virtual Nanoseconds now() const = 0;
};

/// The machine's steady clock. Thread-safe.
const Clock& steady_clock();

/// A clock that moves only when told. For tests and virtual time.
class ManualClock final : public Clock {
 public:
  Nanoseconds now() const override { return now_; }
  void advance(Nanoseconds by) { now_ += by; }

 private:
  Nanoseconds now_{0};
};

}  // namespace moesaic
