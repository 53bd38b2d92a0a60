#include "simulate/arrivals.hpp"

#include <fmt/format.h>

#include <cmath>

#include "core/check.hpp"

namespace moesaic::simulate {
namespace {

double nanoseconds(Nanoseconds value) { return static_cast<double>(value.count()); }

}  // namespace

Status validate(const ArrivalOptions& options) {
  if (options.kind == ArrivalOptions::Kind::kBursts &&
      (!(options.burst_factor >= 1) || options.burst_length <= Nanoseconds(0) ||
       options.burst_length >= options.burst_period)) {
    return bad_input(
        "arrivals: bursts need a factor of at least 1 and a length above 0 that is shorter than their "
        "period");
  }
  if (options.kind == ArrivalOptions::Kind::kFile && (!options.trace || options.trace->size() == 0)) {
    return bad_input("arrivals: the kind file needs a file with requests");
  }
  return {};
}

ArrivalProcess::ArrivalProcess(const ArrivalOptions& options, double rate, std::uint64_t seed)
    : options_(options), random_(seed, 0xA221) {
  MOESAIC_CHECK(rate > 0 || options.kind == ArrivalOptions::Kind::kFile);
  if (rate > 0) mean_gap_ = 1e9 / rate;
  if (options.kind == ArrivalOptions::Kind::kBursts) {
    const double share = nanoseconds(options.burst_length) / nanoseconds(options.burst_period);
    mean_gap_ *= 1 + (options.burst_factor - 1) * share;
    burst_gap_ = mean_gap_ / options.burst_factor;
    level_ends_ = exponential(nanoseconds(options.burst_period - options.burst_length));
  }
  if (options.kind == ArrivalOptions::Kind::kFile && rate > 0) {
    const double length = nanoseconds(options.trace->at.back());
    if (length > 0) stretch_ = mean_gap_ * static_cast<double>(options.trace->size()) / length;
  }
}

double ArrivalProcess::exponential(double mean) { return -mean * std::log1p(-random_.uniform()); }

std::optional<Arrival> ArrivalProcess::next() {
  if (options_.kind == ArrivalOptions::Kind::kFile) {
    const ServingTrace& trace = *options_.trace;
    if (next_ == trace.size()) return std::nullopt;
    const std::size_t i = next_++;
    Arrival out{.at = Nanoseconds(std::llround(nanoseconds(trace.at[i]) * stretch_)),
                .blocks = trace.blocks(i)};
    if (options_.lengths_from_trace) {
      out.prompt_tokens = std::max(1u, trace.prompt_tokens[i]);
      out.output_tokens = std::max(1u, trace.output_tokens[i]);
    }
    return out;
  }
  for (;;) {
    const double gap = exponential(in_burst_ ? burst_gap_ : mean_gap_);
    if (options_.kind == ArrivalOptions::Kind::kPoisson || now_ + gap < level_ends_) {
      now_ += gap;
      return Arrival{.at = Nanoseconds(std::llround(now_))};
    }
    // The exponential forgets: the wait starts again where the level changes.
    now_ = level_ends_;
    in_burst_ = !in_burst_;
    level_ends_ += exponential(
        nanoseconds(in_burst_ ? options_.burst_length : options_.burst_period - options_.burst_length));
  }
}

}  // namespace moesaic::simulate
