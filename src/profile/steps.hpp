// Which tokens run together in a decode step: B lanes, each running one request at a time and taking the
// next when it ends (continuous batching), in arrival order or else in that of a hash of the ids
// (docs/decisions/0002). Steps at which all lanes are busy are looked at, evenly spaced.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "profile/segments.hpp"

namespace moesaic::profile {

struct StepToken {
  std::uint64_t token = 0;
  std::uint32_t step = 0;
};

/// Steps of one batch size. `domain_of_step` is kNoDomain where requests of all domains run together.
struct Schedule {
  std::size_t batch = 0;
  std::vector<std::uint16_t> domain_of_step;
  std::vector<StepToken> tokens;  ///< ascending by token
};

/// At most `steps` steps of `batch` requests out of `order` (segments). None when there are fewer.
void add_steps(const Walk& walk, std::span<const std::size_t> order, std::size_t batch, std::size_t steps,
               std::uint16_t domain, Schedule& out);

/// Steps over all requests.
Schedule mixed_steps(const Walk& walk, const trace::RequestTable& requests, std::size_t batch,
                     std::size_t steps);

/// Steps of one kind only; group_of_request[r] is its kind, kNoDomain = none.
Schedule same_kind_steps(const Walk& walk, const trace::RequestTable& requests, std::size_t batch,
                         std::size_t steps, std::span<const std::uint16_t> kind_of_request,
                         std::size_t kinds);

}  // namespace moesaic::profile
