#include "emulator/batch.hpp"

#include <algorithm>

namespace moesaic::emulator {
namespace {

std::int64_t reserve(const Sequence& sequence) {
  return std::int64_t{sequence.prompt_tokens} + sequence.tokens;
}

}  // namespace

Batch::Batch(net::Loop& loop, const WorkerConfig& config, const simulate::Recording* recording,
             Recorder* recorder)
    : loop_(loop), config_(config), recording_(recording), recorder_(recorder), timer_(loop, [this] {
        end_step();
      }) {
  if (recording_ != nullptr) counter_.emplace(*recording_, nullptr);
}

bool Batch::fits(const Sequence& sequence) const {
  return running_.size() < config_.max_running &&
         (config_.kv_tokens == 0 || kv_reserved_ + reserve(sequence) <= config_.kv_tokens);
}

void Batch::join(Sequence& sequence) {
  waiting_.push_back(&sequence);
  if (!stepping_) begin_step();
}

void Batch::leave(Sequence& sequence) {
  std::erase(waiting_, &sequence);
  if (std::erase(running_, &sequence) > 0) kv_reserved_ -= reserve(sequence);
}

std::int64_t Batch::kv_used() const {
  std::int64_t used = 0;
  for (const Sequence* sequence : running_) used += sequence->prompt_tokens + sequence->made;
  return used;
}

void Batch::admit() {
  while (!waiting_.empty() && fits(*waiting_.front())) {
    kv_reserved_ += reserve(*waiting_.front());
    running_.push_back(waiting_.front());
    waiting_.pop_front();
  }
}

void Batch::begin_step() {
  admit();
  if (running_.empty()) return;
  stepping_ = true;
  cost::StepLoad load;
  double slowness = 1;
  if (counter_) {
    rows_.clear();
    for (const Sequence* sequence : running_) {
      const simulate::RecordedRequest& recorded = recording_->requests[sequence->recorded];
      const std::size_t row = recorded.first + sequence->made % recorded.decode_tokens;
      if (recorder_ != nullptr && recorder_->running()) {
        recorder_->add_token(recording_->bits.data() + row * recording_->words());
      }
      rows_.push_back({.row = recording_->bits.data() + row * recording_->words(),
                       .left = sequence->tokens - sequence->made,
                       .context = sequence->prompt_tokens + sequence->made});
    }
    std::int64_t active = 0;
    load = counter_->count(rows_, active);
    active_experts_ += active;
  } else {
    load.tokens = static_cast<std::int64_t>(running_.size());
    load.kv_tokens = kv_used();
  }
  for (const Sequence* sequence : running_) slowness = std::max(slowness, sequence->slowness);
  ++steps_;
  step_tokens_ += static_cast<std::int64_t>(running_.size());
  const double wall =
      static_cast<double>(cost::step_time(config_.step, load).count()) * config_.dilation * slowness;
  // From the end of the step before, not from when the timer happened to fire: no drift.
  const Nanoseconds now = loop_.now();
  const Nanoseconds start = now - step_end_ < std::chrono::milliseconds(20) ? step_end_ : now;
  step_end_ = start + Nanoseconds(static_cast<std::int64_t>(wall));
  timer_.set(step_end_);
}

void Batch::end_step() {
  stepping_ = false;
  std::vector<Sequence*> ended;
  for (Sequence* sequence : running_) {
    ++sequence->made;
    if (sequence->made >= sequence->tokens) ended.push_back(sequence);
    sequence->progress.set();
  }
  for (Sequence* sequence : ended) {
    std::erase(running_, sequence);
    kv_reserved_ -= reserve(*sequence);
  }
  begin_step();
}

}  // namespace moesaic::emulator
