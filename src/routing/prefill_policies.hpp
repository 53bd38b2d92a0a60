// The prefill policies by name. A prefill's load is its prompt tokens: prefill is bound by compute.
#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "core/result.hpp"
#include "routing/policy.hpp"

namespace moesaic::routing {

/// In turn.
std::unique_ptr<PrefillPolicy> make_prefill_round_robin();
/// Fewest prompt tokens in flight.
std::unique_ptr<PrefillPolicy> make_prefill_least_loaded();

struct PrefixHashOptions {
  /// No worker gets a request while it holds more than this many times the mean of prompt tokens.
  double max_over_mean = 1.25;
};

/// Requests that share their first blocks meet at one worker and its prefix cache: rendezvous hashing
/// (Thaler, Ravishankar 1998) of Request::prefix_hash, with bounded loads (Mirrokni, Thorup, Zadimoghaddam
/// 2018): a worker above its bound is passed over for the next by hash. A worker that joins or leaves moves
/// only the prefixes it wins or held. Without a prefix (hash 0): least loaded.
/// REQUIRES: max_over_mean > 1.
std::unique_ptr<PrefillPolicy> make_prefill_prefix_hash(const PrefixHashOptions& options);

struct PrefillPolicyConfig {
  PrefixHashOptions prefix_hash{};
};

struct PrefillPolicyEntry {
  std::string_view name, summary, source;
  Result<std::unique_ptr<PrefillPolicy>> (*make)(const PrefillPolicyConfig&);
};

std::span<const PrefillPolicyEntry> prefill_policies();
/// The error (bad input) lists the names there are.
Result<std::unique_ptr<PrefillPolicy>> make_prefill_policy(std::string_view name,
                                                           const PrefillPolicyConfig& config);

}  // namespace moesaic::routing
