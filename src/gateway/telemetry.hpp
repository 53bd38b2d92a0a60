// What the gateway counts (Prometheus text) and what it writes down (a JSON line a request, without any text
// of prompts or answers).
#pragma once

#include <array>
#include <cstdint>
#include <cstdio>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "core/clock.hpp"
#include "core/json.hpp"
#include "core/result.hpp"
#include "gateway/recent_durations.hpp"

namespace moesaic::gateway {

/// Counts of durations in fixed buckets.
class Histogram {
 public:
  static constexpr std::array<double, 14> kBounds = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                                     0.25,  0.5,    1,     2.5,  5,     10,   30};  // seconds
  void add(Nanoseconds duration);
  void append(std::string& out, std::string_view name) const;
  std::uint64_t count() const { return count_; }
  /// Upper bound of the bucket that holds quantile q; 0 without values.
  double quantile(double q) const;

 private:
  std::array<std::uint64_t, kBounds.size() + 1> buckets_{};
  std::uint64_t count_ = 0;
  double sum_ = 0;
};

/// How a request ended: exactly one each.
enum class Outcome {
  kFinished,       ///< the worker's answer reached the client whole (also an error the worker answered)
  kRefused,        ///< by the gateway: bad request, no right, limits, no worker
  kUnreachable,    ///< no worker could be reached
  kUpstreamError,  ///< a worker failed before anything of the answer was sent
  kDeadline,       ///< too slow, before anything was sent
  kBroken,         ///< a worker failed in the middle; the client was told
  kClientGone,     ///< the client left, or took the answer too slowly
};
inline constexpr std::size_t kOutcomes = 7;
std::string_view to_string(Outcome outcome);

/// Of a whole stream: the time from its first event to its last, shared among the tokens after the first. The
/// last word and the `usage` are events without a token; each of `choices` has tokens of its own. None below
/// two tokens.
std::optional<Nanoseconds> time_per_token(Nanoseconds first, Nanoseconds last, std::size_t events, bool usage,
                                          std::size_t choices);

struct Metrics {
  std::array<std::uint64_t, kOutcomes> outcomes{};
  std::map<std::string, std::uint64_t, std::less<>> decisions;  ///< "reason,source"
  std::uint64_t connect_retries = 0;
  Histogram first_byte, total, between_events, prefill;
  Histogram per_token;  ///< time_per_token of whole streams; engines send an event a token
  RecentDurations recent_first, recent_per_token;  ///< streams: to their first event, and per_token
};

class Log {
 public:
  Log() = default;
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;
  /// "-": stderr, "none": nowhere, else a file that is appended to. Errors (environment) name it.
  Status open(const std::string& path);
  bool enabled() const { return file_ != nullptr; }
  /// One line: time, level and message beside the given fields.
  void write(std::string_view level, std::string_view message, Json fields);

 private:
  std::FILE* file_ = nullptr;
};

}  // namespace moesaic::gateway
