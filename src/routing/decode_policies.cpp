#include "routing/decode_policies.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string>

namespace moesaic::routing {
namespace {

using Made = Result<std::unique_ptr<DecodePolicy>>;

Made random(const DecodePolicyConfig& config) { return make_random(config.seed); }
Made round_robin(const DecodePolicyConfig&) { return make_round_robin(); }
Made jsq(const DecodePolicyConfig&) { return make_jsq(); }
Made p2c(const DecodePolicyConfig& config) { return make_p2c(config.seed); }

Made domain(const DecodePolicyConfig& config) {
  if (std::ranges::any_of(config.domain.shares, [](double share) { return !(share >= 0 && share < 1e18); })) {
    return bad_input("policy domain: a share is negative or no number, expected the traffic of each domain");
  }
  return make_domain(config.domain);
}

constexpr DecodePolicyEntry kPolicies[] = {
    {"random", "any worker, by chance", "baseline", random},
    {"round-robin", "every worker in turn", "baseline", round_robin},
    {"jsq", "the worker with the fewest requests in flight", "Winston 1977", jsq},
    {"p2c", "the less loaded of two random workers", "Mitzenmacher 2001", p2c},
    {"domain", "the workers of the request's label (oracle)", "arXiv:2607.00466, section 6", domain},
};

}  // namespace

std::span<const DecodePolicyEntry> decode_policies() { return kPolicies; }

Result<std::unique_ptr<DecodePolicy>> make_decode_policy(std::string_view name,
                                                         const DecodePolicyConfig& config) {
  std::string names;
  for (const DecodePolicyEntry& entry : kPolicies) {
    if (entry.name == name) return entry.make(config);
    names += (names.empty() ? "" : ", ") + std::string(entry.name);
  }
  return bad_input(fmt::format("decode policy \"{}\" is not known, expected one of {}", name, names));
}

}  // namespace moesaic::routing
