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

Status check_eldr(const EldrOptions& options) {
  const std::size_t width = options.space.width();
  if (width == 0 ||
      std::ranges::any_of(options.space.rows, [&](auto row) { return row >= options.layer_rows; }) ||
      options.space.rows.size() != options.space.layers.size()) {
    return bad_input(
        fmt::format("policy eldr: its signature has no layers or some beyond the model's {}, fit it on "
                    "a trace of this model",
                    options.layer_rows));
  }
  if (options.centroids.size() % width != 0) {
    return bad_input(fmt::format("policy eldr: {} numbers of centroids, expected rows of {}",
                                 options.centroids.size(), width));
  }
  if (options.space.transform == signature::Transform::kGateProbability) {
    return bad_input(
        "policy eldr: its signature is of router weights (gate_probability), and engines report counts; fit "
        "the router with another --transform");
  }
  if (!(options.tau >= 0))
    return bad_input(fmt::format("policy eldr: tau is {}, expected 0 or more", options.tau));
  return {};
}

Made eldr(const DecodePolicyConfig& config) {
  MOESAIC_TRY(check_eldr(config.eldr));
  if (config.eldr.refit_every <= Nanoseconds(0) || config.eldr.window <= Nanoseconds(0)) {
    return bad_input("policy eldr: refit_every and window must be more than 0; eldr-static never refits");
  }
  return make_eldr(config.eldr);
}

Made eldr_static(const DecodePolicyConfig& config) {
  MOESAIC_TRY(check_eldr(config.eldr));
  if (config.eldr.centroids.empty()) {
    return bad_input(
        "policy eldr-static: no centroids, expected one a decoder; make them with `moesaic fit`");
  }
  EldrOptions options = config.eldr;
  options.refit_every = Nanoseconds(0);
  return make_eldr(std::move(options));
}

Made marginal(const DecodePolicyConfig& config) {
  MOESAIC_TRY(signature::validate(config.marginal.predictor));
  if (!(config.marginal.ahead_share >= 0) || !(config.marginal.ahead_requests >= 0)) {
    return bad_input("policy marginal: ahead_share and ahead_requests must be 0 or more");
  }
  const UsageMemory& memory = config.marginal.memory;
  if (!(memory.requests >= 1 && memory.share >= 0 && memory.share <= 1 && config.marginal.contrast >= 0)) {
    return bad_input(
        "policy marginal: its memory must span 1 request or more with a share in 0 to 1, and contrast must "
        "be "
        "0 or more");
  }
  return make_marginal(config.marginal);
}

Made group(const DecodePolicyConfig& config) {
  const signature::Assigner& assigner = config.group.assigner;
  if (assigner.targets() == 0) {
    return bad_input("policy group: no homes, expected the assigner of a plan; make one with `moesaic plan`");
  }
  MOESAIC_TRY(signature::validate(assigner));
  if (std::ranges::any_of(assigner.space.rows, [&](auto row) { return row >= config.group.layer_rows; }) ||
      assigner.space.rows.size() != assigner.space.layers.size()) {
    return bad_input(fmt::format("policy group: its assigner reads layers beyond the model's {}",
                                 config.group.layer_rows));
  }
  if (!(config.group.slack >= 0) || !(config.group.grace_requests >= 0)) {
    return bad_input("policy group: slack and grace_requests must be 0 or more");
  }
  return make_group(config.group);
}

constexpr DecodePolicyEntry kPolicies[] = {
    {"random", "any worker, by chance", "baseline", random},
    {"round-robin", "every worker in turn", "baseline", round_robin},
    {"jsq", "the worker with the fewest requests in flight", "Winston 1977", jsq},
    {"p2c", "the less loaded of two random workers", "Mitzenmacher 2001", p2c},
    {"domain", "the workers of the request's label (oracle)", "arXiv:2607.00466, section 6", domain},
    {"eldr-static", "the nearest centroids of signatures, then load; centroids fitted once",
     "arXiv:2607.00466", eldr_static},
    {"eldr", "as eldr-static, refitted on the last seconds", "arXiv:2607.00466", eldr},
    {"marginal", "where the request adds the least step time to everybody", "this project", marginal},
    {"group", "the home that a plan's assigner gives it, homes balanced", "this project", group},
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
