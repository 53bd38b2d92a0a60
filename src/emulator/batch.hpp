// The running batch of an emulated decoder: steps whose time `cost` gives, on the loop's clock, dilated.
// Which experts a step activates comes from recorded requests, as in the simulator.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <optional>
#include <vector>

#include "emulator/recorder.hpp"
#include "emulator/worker_config.hpp"
#include "net/loop.hpp"
#include "simulate/step_counter.hpp"

namespace moesaic::emulator {

/// A request that decodes. Owned by its handler; leave() before it dies.
struct Sequence {
  explicit Sequence(net::Loop& loop) : progress(loop) {}
  std::uint32_t recorded = 0;  ///< request of the recording; unused without one
  std::uint32_t prompt_tokens = 0;
  std::uint32_t tokens = 0;  ///< to make
  std::uint32_t made = 0;
  double slowness = 1;  ///< an ill worker: every step it takes part in lasts that much longer
  net::Event progress;  ///< set after every step
};

class Batch {
 public:
  /// `recording` and `recorder` may be nullptr. All outlive this.
  Batch(net::Loop& loop, const WorkerConfig& config, const simulate::Recording* recording,
        Recorder* recorder);

  /// Joins when there is room, at the end of a step. REQUIRES: tokens > 0.
  void join(Sequence& sequence);
  void leave(Sequence& sequence);

  std::size_t running() const { return running_.size(); }
  std::size_t waiting() const { return waiting_.size(); }
  /// Tokens of KV that running requests hold.
  std::int64_t kv_used() const;
  /// Distinct experts read, summed over steps and layers, and the steps.
  std::int64_t active_experts() const { return active_experts_; }
  std::int64_t steps() const { return steps_; }
  std::int64_t step_tokens() const { return step_tokens_; }

 private:
  void admit();
  void begin_step();
  void end_step();
  bool fits(const Sequence& sequence) const;

  net::Loop& loop_;
  const WorkerConfig& config_;
  const simulate::Recording* recording_;
  Recorder* recorder_;
  std::optional<simulate::StepCounter> counter_;
  std::vector<Sequence*> running_;
  std::deque<Sequence*> waiting_;
  std::vector<simulate::Running> rows_;
  net::Timer timer_;
  bool stepping_ = false;
  Nanoseconds step_end_{0};
  std::int64_t kv_reserved_ = 0, active_experts_ = 0, steps_ = 0, step_tokens_ = 0;
};

}  // namespace moesaic::emulator
