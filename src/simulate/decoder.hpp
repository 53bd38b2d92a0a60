// One decode worker: a batch that changes between steps, and a line of requests before it.
#pragma once

#include <cstdint>
#include <vector>

#include "grouping/expected_union.hpp"
#include "grouping/waiting_line.hpp"
#include "simulate/step_counter.hpp"

namespace moesaic::simulate {

class Decoder {
 public:
  /// `counter` is shared by all decoders of a run and outlives them.
  Decoder(const DecodePool& pool, StepCounter& counter)
      : pool_(&pool), counter_(&counter), line_(0, late(pool)), per_gpu_(counter.gpus()) {}

  /// A request whose KV has arrived. `reserve`: tokens of KV that it will need at most.
  struct Joining {
    Running running;
    std::int64_t reserve = 0;
  };
  void enqueue(const Joining& joining) {
    if (free_.empty()) {
      free_.push_back(static_cast<std::uint32_t>(places_.size()));
      places_.emplace_back();
    }
    places_[free_.back()] = joining;
    line_.push(free_.back());
    free_.pop_back();
  }

  /// Takes requests from the line while the batch and the KV cache have room.
  void admit() {
    if (line_.empty() || !batch_has_room()) return;
    const bool by_experts = pool_->admission.kind == Admission::Kind::kMicroBatch && line_.size() > 1;
    grouping::ExpectedUnion experts(by_experts ? batch_cells() : 0);
    if (by_experts) {
      for (const Running& running : batch_) experts.add(running.predicted);
    }
    while (!line_.empty() && batch_has_room()) {
      const std::size_t i = by_experts ? cheapest(experts) : 0;
      if (i == line_.size() || !cache_has_room(places_[line_.at(i)])) return;
      const std::uint32_t place = line_.take(i);
      if (by_experts) experts.add(places_[place].running.predicted);
      join(places_[place]);
      free_.push_back(place);
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

  /// The worker is gone, in the middle of a step or not: what ran and waited there, in that order.
  std::vector<Running> lose() {
    std::vector<Running> lost = std::move(batch_);
    for (std::size_t i = 0; i < line_.size(); ++i) lost.push_back(places_[line_.at(i)].running);
    *this = Decoder(*pool_, *counter_);
    return lost;
  }

  bool stepping() const { return stepping_; }
  bool empty() const { return batch_.empty(); }
  std::size_t running() const { return batch_.size(); }
  std::size_t waiting() const { return line_.size(); }
  std::int64_t reserved() const { return reserved_; }

 private:
  static std::uint64_t late(const DecodePool& pool) {
    return pool.admission.kind == Admission::Kind::kFifo ? 0 : pool.admission.max_late;
  }
  std::size_t batch_cells() const { return places_[line_.at(0)].running.predicted.size(); }
  bool batch_has_room() const { return pool_->max_running == 0 || batch_.size() < pool_->max_running; }
  bool cache_has_room(const Joining& joining) const {
    return pool_->kv_capacity == 0 || reserved_ + joining.reserve <= pool_->kv_capacity;
  }

  /// Who adds least among those that may go first and fit, the longest waiting on ties; size() when none
  /// fits.
  std::size_t cheapest(const grouping::ExpectedUnion& experts) const {
    const std::size_t among = std::min(pool_->admission.pool, line_.eligible());
    std::size_t best = line_.size();
    float least = 0;
    for (std::size_t i = 0; i < among; ++i) {
      const Joining& joining = places_[line_.at(i)];
      if (!cache_has_room(joining)) continue;
      const float here = experts.added(joining.running.predicted);
      if (best == line_.size() || here < least) best = i, least = here;
    }
    return best;
  }

  void join(const Joining& joining) {
    Running running = joining.running;
    std::size_t home = 0;
    for (std::size_t gpu = 1; gpu < per_gpu_.size(); ++gpu) {
      if (per_gpu_[gpu] < per_gpu_[home]) home = gpu;
    }
    ++per_gpu_[home];
    running.home = static_cast<std::uint16_t>(home);
    reserved_ += joining.reserve;
    batch_.push_back(running);
  }

  const DecodePool* pool_;
  StepCounter* counter_;
  std::vector<Running> batch_;
  grouping::WaitingLine line_;  ///< of places
  std::vector<Joining> places_;
  std::vector<std::uint32_t> free_;
  std::vector<std::uint32_t> per_gpu_;  ///< requests by home
  std::int64_t reserved_ = 0;
  bool stepping_ = false;
};

}  // namespace moesaic::simulate
