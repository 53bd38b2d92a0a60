// When requests come.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "core/clock.hpp"
#include "core/random.hpp"
#include "core/result.hpp"
#include "simulate/serving_trace.hpp"

namespace moesaic::simulate {

struct Arrival {
  Nanoseconds at{0};
  std::uint32_t prompt_tokens = 0, output_tokens = 0;  ///< 0: those of the recorded request
  std::span<const std::uint64_t> blocks{};             ///< of the prompt, for prefix caches
};

struct ArrivalOptions {
  enum class Kind {
    kPoisson,
    kBursts,  ///< Poisson whose rate jumps between two levels (Markov-modulated)
    kFile,    ///< recorded; times are stretched to the asked rate
  };
  Kind kind = Kind::kPoisson;
  /// kBursts: inside a burst requests come `burst_factor` times as fast as outside; bursts last
  /// burst_length on average and begin burst_period apart on average. The mean rate is the asked one.
  double burst_factor = 4;
  Nanoseconds burst_length = std::chrono::seconds(2);
  Nanoseconds burst_period = std::chrono::seconds(10);
  std::shared_ptr<const ServingTrace> trace{};  ///< kFile
  bool lengths_from_trace = false;              ///< kFile: prompts and outputs as long as recorded there
};

/// Errors (bad input): a factor below 1, a burst as long as its period, kFile without a trace.
Status validate(const ArrivalOptions& options);

/// Times never fall. kFile ends, the others never do.
class ArrivalProcess {
 public:
  /// `rate` in requests a second, > 0; kFile with rate 0 keeps the recorded pace. REQUIRES: valid options.
  ArrivalProcess(const ArrivalOptions& options, double rate, std::uint64_t seed);
  std::optional<Arrival> next();

 private:
  double exponential(double mean);

  ArrivalOptions options_;
  Pcg32 random_;
  double now_ = 0;  ///< nanoseconds
  double mean_gap_ = 0, burst_gap_ = 0;
  bool in_burst_ = false;
  double level_ends_ = 0;
  double stretch_ = 1;
  std::size_t next_ = 0;
};

}  // namespace moesaic::simulate
