// The policies of `routing` with the gateway's workers: a place is a worker, or one data-parallel rank of it.
// Keeps the last decisions with their reasons. One owner, no threads, time comes with the calls.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "gateway/config.hpp"
#include "gateway/expert_load.hpp"
#include "routing/policy.hpp"

namespace moesaic::gateway {

enum class WorkerKey : std::uint32_t {};

/// Where the expert usage that a decision was made from came from, best first.
enum class UsageSource { kEldrSignature, kRoutedExperts, kPrefixCache, kPromptModel, kNone };
std::string_view to_string(UsageSource source);
std::string_view to_string(routing::Reason reason);

struct Choice {
  WorkerKey worker{};
  std::uint32_t rank = 0;
  routing::Reason reason = routing::Reason::kNoWorker;
  std::optional<std::uint32_t> home{};          ///< of the plan, where there is one
  std::optional<routing::Locality> locality{};  ///< of decode choices with known usage
};

/// One line of /admin/decisions.
struct DecisionRecord {
  Nanoseconds at{0};
  std::string request;
  std::string worker, prefiller;
  std::uint32_t rank = 0;
  std::optional<std::uint32_t> home{};
  routing::Reason reason = routing::Reason::kNoWorker;
  UsageSource source = UsageSource::kNone;
  std::optional<routing::Locality> locality{};
};

class Placer {
 public:
  /// `experts` may be nullptr: then no locality is told.
  Placer(std::unique_ptr<routing::DecodePolicy> decode, std::unique_ptr<routing::PrefillPolicy> prefill,
         std::unique_ptr<ExpertLoad> experts)
      : decode_(std::move(decode)), prefill_(std::move(prefill)), experts_(std::move(experts)) {}

  /// The worker may get requests from now on, or may not.
  void worker_up(WorkerKey key, const WorkerSpec& spec, Nanoseconds now);
  void worker_down(WorkerKey key, Nanoseconds now);
  /// What the worker itself says it runs and waits for, over all its ranks.
  void worker_load(WorkerKey key, std::uint64_t requests, Nanoseconds now);

  std::optional<Choice> choose_prefill(const routing::Request& request, Nanoseconds now);
  void prefill_done(routing::RequestId request, Nanoseconds now) { prefill_->prefill_done(request, now); }
  std::optional<Choice> choose_decode(const routing::Request& request, Nanoseconds now);
  void first_token(routing::RequestId request, Nanoseconds now) { decode_->first_token(request, now); }
  void finished(routing::RequestId request, Nanoseconds now);
  /// What a request that it decoded truly activated, see DecodePolicy::observed().
  bool observed(WorkerKey key, std::uint32_t rank, std::span<const float> shares, Nanoseconds now);
  /// Distinct experts that a decode step is expected to read there; nothing when no usage is known.
  std::optional<double> expected_experts(WorkerKey key, std::uint32_t rank) const;

  std::optional<routing::RefitJob> tick(Nanoseconds now) { return decode_->tick(now); }
  /// Recorded requests, the oldest first; perhaps a job, as tick() gives.
  std::optional<routing::RefitJob> recorded(std::span<const std::span<const float>> counts, Nanoseconds now) {
    return decode_->recorded(counts, now);
  }
  /// `generation` as it was when the job was handed out: results for a replaced policy are dropped.
  void refitted(const std::optional<routing::RefitResult>& result, std::uint64_t generation, Nanoseconds now);
  std::uint64_t generation() const { return generation_; }

  /// Recorded requests taught a better predictor: for this policy, those that replace it, and ExpertLoad.
  void learnt(std::shared_ptr<const signature::Predictor> predictor, Nanoseconds now);
  /// Workers that decode, each of their ranks, now.
  std::size_t places() const;

  void replace_prefill(std::unique_ptr<routing::PrefillPolicy> policy, Nanoseconds now);
  /// Another decode policy from now on; it learns of the workers that are up. Requests in flight count as
  /// the load of others once their workers report it.
  void replace_decode(std::unique_ptr<routing::DecodePolicy> policy, Nanoseconds now);
  std::string_view decode_name() const { return decode_->name(); }
  std::string_view prefill_name() const { return prefill_->name(); }
  std::uint64_t refits() const { return refits_; }

  /// A record to be filled in: all of it, for it may be the oldest's.
  DecisionRecord& remember();
  const std::deque<DecisionRecord>& recent() const { return recent_; }

 private:
  void tell_up(routing::DecodePolicy& policy, WorkerKey key, const WorkerSpec& spec, Nanoseconds now);

  std::unique_ptr<routing::DecodePolicy> decode_;
  std::unique_ptr<routing::PrefillPolicy> prefill_;
  std::unique_ptr<ExpertLoad> experts_;
  std::shared_ptr<const signature::Predictor> learnt_;
  std::map<WorkerKey, WorkerSpec> up_;
  std::deque<DecisionRecord> recent_;
  std::uint64_t refits_ = 0;
  std::uint64_t generation_ = 0;
};

}  // namespace moesaic::gateway
