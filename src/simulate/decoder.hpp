// One decode worker: a batch that changes between steps, and a queue before it.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "simulate/step_counter.hpp"

namespace moesaic::simulate {

class Decoder {
 public:
  /// `counter` is shared by all decoders of a run and outlives them.
  Decoder(const DecodePool& pool, StepCounter& counter)
      : pool_(&pool), counter_(&counter), per_gpu_(counter.gpus()) {}

  /// A request whose KV has arrived. `reserve`: tokens of KV that it will need at most.
  struct Joining {
    Running running;
    std::int64_t reserve = 0;
  };
  void enqueue(const Joining& joining) { waiting_.push_back(joining); }

  /// Takes requests from the queue, in order, while the batch and the KV cache have room.
  void admit() {
    while (!waiting_.empty() && room(waiting_.front())) {
      Running running = waiting_.front().running;
      std::size_t home = 0;
      for (std::size_t gpu = 1; gpu < per_gpu_.size(); ++gpu) {
        if (per_gpu_[gpu] < per_gpu_[home]) home = gpu;
      }
      ++per_gpu_[home];
      running.home = static_cast<std::uint16_t>(home);
      reserved_ += waiting_.front().reserve;
      batch_.push_back(running);
      waiting_.pop_front();
    }
  }

  /// Time of a step of the batch as it is; `active` as StepCounter::count. REQUIRES: a batch.
  Nanoseconds start_step(std::int64_t& active) {
    stepping_ = true;
    return cost::step_time(pool_->step, counter_->count(batch_, active));
  }

  /// The step is over: calls done(running) for every request of the batch, whose `left` and `position` count
  /// it already; those with left == 0 leave. `next` sets a running request's next row.
  template <class Done, class Next>
  void end_step(Done done, Next next) {
    stepping_ = false;
    std::size_t kept = 0;
    for (Running& running : batch_) {
      --running.left;
      ++running.position;
      ++running.context;
      done(running);
      if (running.left == 0) {
        --per_gpu_[running.home];
        continue;
      }
      next(running);
      batch_[kept++] = running;
    }
    batch_.resize(kept);
  }
  void release(std::int64_t reserve) { reserved_ -= reserve; }

  bool stepping() const { return stepping_; }
  bool empty() const { return batch_.empty(); }
  std::size_t running() const { return batch_.size(); }
  std::size_t waiting() const { return waiting_.size(); }
  std::int64_t reserved() const { return reserved_; }

 private:
  bool room(const Joining& joining) const {
    return (pool_->max_running == 0 || batch_.size() < pool_->max_running) &&
           (pool_->kv_capacity == 0 || reserved_ + joining.reserve <= pool_->kv_capacity);
  }

  const DecodePool* pool_;
  StepCounter* counter_;
  std::vector<Running> batch_;
  std::deque<Joining> waiting_;
  std::vector<std::uint32_t> per_gpu_;  ///< requests by home
  std::int64_t reserved_ = 0;
  bool stepping_ = false;
};

}  // namespace moesaic::simulate
