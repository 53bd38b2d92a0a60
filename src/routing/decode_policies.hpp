// The decode policies by name. One file a policy; those with more to say have a header of their own.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "core/result.hpp"
#include "routing/domain.hpp"
#include "routing/eldr.hpp"
#include "routing/group.hpp"
#include "routing/marginal.hpp"
#include "routing/policy.hpp"

namespace moesaic::routing {

/// Any worker that is up, uniformly.
std::unique_ptr<DecodePolicy> make_random(std::uint64_t seed);
/// In turn.
std::unique_ptr<DecodePolicy> make_round_robin();
/// Join the shortest queue: fewest requests in flight (Winston 1977: optimal for equal servers that see
/// nothing but counts).
std::unique_ptr<DecodePolicy> make_jsq();
/// Power of two choices: the shorter of two random queues (Mitzenmacher 2001).
std::unique_ptr<DecodePolicy> make_p2c(std::uint64_t seed);

/// What the policies of decode_policies() are made from; each reads its own part.
struct DecodePolicyConfig {
  std::uint64_t seed = 0;  ///< random, p2c
  DomainOptions domain{};
  EldrOptions eldr{};  ///< eldr-static ignores refit_every
  MarginalOptions marginal{};
  GroupOptions group{};
};

struct DecodePolicyEntry {
  std::string_view name, summary, source;
  Result<std::unique_ptr<DecodePolicy>> (*make)(const DecodePolicyConfig&);
};

std::span<const DecodePolicyEntry> decode_policies();
/// The error (bad input) lists the names there are.
Result<std::unique_ptr<DecodePolicy>> make_decode_policy(std::string_view name,
                                                         const DecodePolicyConfig& config);

}  // namespace moesaic::routing
