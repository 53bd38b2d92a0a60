// Durations of the last five minutes, for people who look at a running gateway: quantiles and their course.
// Bounded: slots of time, each a histogram whose buckets are an eighth to a sixteenth of their value wide.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/clock.hpp"

namespace moesaic::gateway {

class RecentDurations {
 public:
  static constexpr std::size_t kSlots = 60;
  static constexpr Nanoseconds kSlot = std::chrono::seconds(5);

  RecentDurations();

  /// REQUIRES: `now` never goes back. O(1).
  void add(Nanoseconds now, Nanoseconds duration);

  struct Summary {
    std::uint64_t count = 0;
    double p50 = 0, p90 = 0, p99 = 0;  ///< seconds, to within a bucket; 0 without values
  };
  /// Over the last `slots` slots, the one that runs included. O(slots x buckets).
  Summary over(Nanoseconds now, std::size_t slots) const;

  struct Bin {
    double from = 0, to = 0;  ///< seconds
    std::uint64_t count = 0;
  };
  /// Four bins an octave, from the first that holds something to the last.
  std::vector<Bin> bins(Nanoseconds now, std::size_t slots) const;

 private:
  static constexpr std::size_t kPerOctave = 8, kOctaves = 25;
  static constexpr int kFirstOctave = 13;  ///< 2^13 ns = 8 us; shorter ones count there, longer in the last
  using Counts = std::array<std::uint32_t, kPerOctave * kOctaves>;
  struct Slot {
    std::int64_t number = -1;  ///< of its stretch of time
    Counts counts{};
  };

  static std::size_t bucket_of(Nanoseconds duration);
  /// Lower end of a bucket in seconds.
  static double edge(std::size_t bucket);
  std::array<std::uint64_t, kPerOctave * kOctaves> sum(Nanoseconds now, std::size_t slots) const;

  std::unique_ptr<std::array<Slot, kSlots>> slots_;
};

}  // namespace moesaic::gateway
