#include "gateway/placer.hpp"

#include <algorithm>

namespace moesaic::gateway {
namespace {

constexpr std::size_t kRemembered = 256;
constexpr std::uint32_t kMaxRanks = 4096;

routing::WorkerId id_of(WorkerKey key, std::uint32_t rank) {
  return routing::WorkerId{static_cast<std::uint32_t>(key) * kMaxRanks + rank};
}

std::optional<std::uint32_t> home_of(const WorkerSpec& spec, std::uint32_t rank) {
  if (!spec.home) return std::nullopt;
  return *spec.home + rank;
}

std::optional<Choice> choice_of(const routing::Decision& decision) {
  if (!decision.worker) return std::nullopt;
  const auto id = static_cast<std::uint32_t>(*decision.worker);
  return Choice{.worker = WorkerKey{id / kMaxRanks}, .rank = id % kMaxRanks, .reason = decision.reason};
}

}  // namespace

std::string_view to_string(UsageSource source) {
  switch (source) {
    case UsageSource::kEldrSignature:
      return "eldr_sig";
    case UsageSource::kRoutedExperts:
      return "routed_experts";
    case UsageSource::kPrefixCache:
      return "prefix_cache";
    case UsageSource::kPromptModel:
      return "prompt_model";
    case UsageSource::kNone:
      return "none";
  }
  return "";
}

std::string_view to_string(routing::Reason reason) {
  switch (reason) {
    case routing::Reason::kNoWorker:
      return "no_worker";
    case routing::Reason::kLoad:
      return "load";
    case routing::Reason::kChance:
      return "chance";
    case routing::Reason::kSignature:
      return "signature";
    case routing::Reason::kDomain:
      return "domain";
    case routing::Reason::kPrefix:
      return "prefix";
    case routing::Reason::kFallback:
      return "fallback";
  }
  return "";
}

void Placer::tell_up(routing::DecodePolicy& policy, WorkerKey key, const WorkerSpec& spec, Nanoseconds now) {
  for (std::uint32_t rank = 0; rank < spec.ranks; ++rank) {
    policy.worker_up({.id = id_of(key, rank),
                      .max_running = spec.max_running,
                      .kv_capacity = spec.kv_tokens,
                      .home = home_of(spec, rank)},
                     now);
  }
}

void Placer::worker_up(WorkerKey key, const WorkerSpec& spec, Nanoseconds now) {
  up_[key] = spec;
  if (spec.role == Role::kPrefill) {
    prefill_->worker_up({.id = id_of(key, 0)}, now);
  } else {
    tell_up(*decode_, key, spec, now);
    for (std::uint32_t rank = 0; experts_ && rank < spec.ranks; ++rank) experts_->up(id_of(key, rank));
  }
}

void Placer::worker_down(WorkerKey key, Nanoseconds now) {
  const auto found = up_.find(key);
  if (found == up_.end()) return;
  const WorkerSpec& spec = found->second;
  if (spec.role == Role::kPrefill) {
    prefill_->worker_down(id_of(key, 0), now);
  } else {
    for (std::uint32_t rank = 0; rank < spec.ranks; ++rank) {
      decode_->worker_down(id_of(key, rank), now);
      if (experts_) experts_->down(id_of(key, rank));
    }
  }
  up_.erase(found);
}

void Placer::worker_load(WorkerKey key, std::uint64_t requests, Nanoseconds now) {
  const auto found = up_.find(key);
  if (found == up_.end() || found->second.role == Role::kPrefill) return;
  const std::uint32_t ranks = found->second.ranks;
  std::uint64_t own = 0;
  for (std::uint32_t rank = 0; rank < ranks; ++rank) own += decode_->in_flight(id_of(key, rank));
  // Engines report sums. Ours are where they are; those of others are taken to be spread evenly.
  const std::uint64_t others = std::min<std::uint64_t>(requests - std::min(requests, own), 1u << 30);
  for (std::uint32_t rank = 0; rank < ranks; ++rank) {
    const std::uint64_t share = others / ranks + (rank < others % ranks ? 1 : 0);
    decode_->worker_load(id_of(key, rank),
                         {decode_->in_flight(id_of(key, rank)) + static_cast<std::uint32_t>(share)}, now);
  }
}

std::optional<Choice> Placer::choose_prefill(const routing::Request& request, Nanoseconds now) {
  return choice_of(prefill_->admit(request, now));
}
std::optional<Choice> Placer::choose_decode(const routing::Request& request, Nanoseconds now) {
  const routing::Decision decision = decode_->admit(request, now);
  std::optional<Choice> choice = choice_of(decision);
  if (choice) choice->home = home_of(up_.at(choice->worker), choice->rank);
  if (choice && decode_->keeps_experts()) {
    choice->locality = decision.locality;
  } else if (choice && experts_) {
    choice->locality = experts_->placed(request, *decision.worker);
  }
  return choice;
}

void Placer::finished(routing::RequestId request, Nanoseconds now) {
  decode_->finished(request, now);
  if (experts_) experts_->finished(request);
}

bool Placer::observed(WorkerKey key, std::uint32_t rank, std::span<const float> shares, Nanoseconds now) {
  return decode_->observed(id_of(key, rank), shares, now);
}

std::optional<double> Placer::expected_experts(WorkerKey key, std::uint32_t rank) const {
  if (decode_->keeps_experts()) return decode_->expected_experts(id_of(key, rank));
  if (!experts_) return std::nullopt;
  return experts_->expected(id_of(key, rank));
}

void Placer::refitted(const std::optional<routing::RefitResult>& result, std::uint64_t generation,
                      Nanoseconds now) {
  if (generation != generation_) return;
  if (result) ++refits_;
  decode_->refitted(result, now);
}

void Placer::learnt(std::shared_ptr<const signature::Predictor> predictor, Nanoseconds now) {
  learnt_ = std::move(predictor);
  decode_->learnt(*learnt_, now);
  if (experts_) experts_->learnt(*learnt_);
}

std::size_t Placer::places() const {
  std::size_t count = 0;
  for (const auto& [key, spec] : up_) count += spec.role == Role::kPrefill ? 0 : spec.ranks;
  return count;
}

void Placer::replace_decode(std::unique_ptr<routing::DecodePolicy> policy, Nanoseconds now) {
  decode_ = std::move(policy);
  ++generation_;
  if (learnt_) decode_->learnt(*learnt_, now);
  for (const auto& [key, spec] : up_) {
    if (spec.role != Role::kPrefill) tell_up(*decode_, key, spec, now);
  }
}

void Placer::replace_prefill(std::unique_ptr<routing::PrefillPolicy> policy, Nanoseconds now) {
  prefill_ = std::move(policy);
  for (const auto& [key, spec] : up_) {
    if (spec.role == Role::kPrefill) prefill_->worker_up({.id = id_of(key, 0)}, now);
  }
}

DecisionRecord& Placer::remember() {
  if (recent_.size() < kRemembered) return recent_.emplace_back();
  recent_.push_back(std::move(recent_.front()));
  recent_.pop_front();
  return recent_.back();
}

}  // namespace moesaic::gateway
