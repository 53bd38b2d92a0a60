#include "gateway/recent_durations.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace moesaic::gateway {

RecentDurations::RecentDurations() : slots_(std::make_unique<std::array<Slot, kSlots>>()) {}

std::size_t RecentDurations::bucket_of(Nanoseconds duration) {
  const auto ns = static_cast<std::uint64_t>(std::max<std::int64_t>(duration.count(), 1 << kFirstOctave));
  const int octave = static_cast<int>(std::bit_width(ns)) - 1;
  const auto part = static_cast<std::size_t>(ns >> (octave - 3) & (kPerOctave - 1));
  return std::min(static_cast<std::size_t>(octave - kFirstOctave) * kPerOctave + part,
                  kPerOctave * kOctaves - 1);
}

double RecentDurations::edge(std::size_t bucket) {
  const double octave = std::ldexp(1e-9, kFirstOctave + static_cast<int>(bucket / kPerOctave));
  return octave * (1 + static_cast<double>(bucket % kPerOctave) / kPerOctave);
}

void RecentDurations::add(Nanoseconds now, Nanoseconds duration) {
  const std::int64_t number = now / kSlot;
  Slot& slot = (*slots_)[static_cast<std::size_t>(number) % kSlots];
  if (slot.number != number) slot = {.number = number, .counts = {}};
  ++slot.counts[bucket_of(duration)];
}

std::array<std::uint64_t, RecentDurations::kPerOctave * RecentDurations::kOctaves> RecentDurations::sum(
    Nanoseconds now, std::size_t slots) const {
  std::array<std::uint64_t, kPerOctave * kOctaves> total{};
  const std::int64_t last = now / kSlot;
  for (const Slot& slot : *slots_) {
    if (slot.number < 0 || slot.number > last || last - slot.number >= static_cast<std::int64_t>(slots))
      continue;
    for (std::size_t i = 0; i < total.size(); ++i) total[i] += slot.counts[i];
  }
  return total;
}

RecentDurations::Summary RecentDurations::over(Nanoseconds now, std::size_t slots) const {
  const auto counts = sum(now, slots);
  Summary out;
  for (const std::uint64_t count : counts) out.count += count;
  if (out.count == 0) return out;
  const auto quantile = [&](double q) {
    const double wanted = q * static_cast<double>(out.count);
    double below = 0;
    for (std::size_t i = 0; i < counts.size(); ++i) {
      const auto here = static_cast<double>(counts[i]);
      if (here > 0 && below + here >= wanted)
        return edge(i) + (edge(i + 1) - edge(i)) * (wanted - below) / here;
      below += here;
    }
    return edge(counts.size());
  };
  out.p50 = quantile(0.5);
  out.p90 = quantile(0.9);
  out.p99 = quantile(0.99);
  return out;
}

std::vector<RecentDurations::Bin> RecentDurations::bins(Nanoseconds now, std::size_t slots) const {
  const auto counts = sum(now, slots);
  std::vector<Bin> out;
  for (std::size_t i = 0; i < counts.size(); i += 2) {
    out.push_back({.from = edge(i), .to = edge(i + 2), .count = counts[i] + counts[i + 1]});
  }
  const auto filled = [](const Bin& bin) { return bin.count > 0; };
  out.erase(std::find_if(out.rbegin(), out.rend(), filled).base(), out.end());
  out.erase(out.begin(), std::find_if(out.begin(), out.end(), filled));
  return out;
}

}  // namespace moesaic::gateway
