#include "routing/prefill_policies.hpp"

#include <fmt/format.h>

#include <string>

namespace moesaic::routing {
namespace {

using MadePrefill = Result<std::unique_ptr<PrefillPolicy>>;

MadePrefill round_robin(const PrefillPolicyConfig&) { return make_prefill_round_robin(); }
MadePrefill least_loaded(const PrefillPolicyConfig&) { return make_prefill_least_loaded(); }

MadePrefill prefix_hash(const PrefillPolicyConfig& config) {
  if (!(config.prefix_hash.max_over_mean > 1)) {
    return bad_input(fmt::format("policy prefix-hash: max_over_mean is {}, expected more than 1",
                                 config.prefix_hash.max_over_mean));
  }
  return make_prefill_prefix_hash(config.prefix_hash);
}

constexpr PrefillPolicyEntry kPrefillPolicies[] = {
    {"round-robin", "every worker in turn", "baseline", round_robin},
    {"least-loaded", "the worker with the fewest prompt tokens in flight", "baseline", least_loaded},
    {"prefix-hash", "requests with one prefix meet at one worker, within a bound on its load",
     "Thaler, Ravishankar 1998; Mirrokni, Thorup, Zadimoghaddam 2018", prefix_hash},
};

}  // namespace

std::span<const PrefillPolicyEntry> prefill_policies() { return kPrefillPolicies; }

Result<std::unique_ptr<PrefillPolicy>> make_prefill_policy(std::string_view name,
                                                           const PrefillPolicyConfig& config) {
  std::string names;
  for (const PrefillPolicyEntry& entry : kPrefillPolicies) {
    if (entry.name == name) return entry.make(config);
    names += (names.empty() ? "" : ", ") + std::string(entry.name);
  }
  return bad_input(fmt::format("prefill policy \"{}\" is not known, expected one of {}", name, names));
}

}  // namespace moesaic::routing
