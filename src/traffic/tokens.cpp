#include "traffic/tokens.hpp"

#include <algorithm>

#include "core/check.hpp"

namespace moesaic::traffic {

Steps make_steps(std::span<const Segment> segments, std::size_t homes, std::size_t requests_per_home) {
  MOESAIC_CHECK(requests_per_home > 0);
  struct Batch {
    std::size_t first_step = 0, requests = 0, length = 0;
  };
  std::vector<Batch> batch(homes);  // the running batch of every home
  std::size_t tokens = 0;
  for (const Segment& segment : segments) tokens = std::max(tokens, segment.begin + segment.count);
  Steps steps{.of_token = std::vector<std::uint32_t>(tokens)};
  for (const Segment& segment : segments) {
    if (segment.count == 0) continue;
    Batch& now = batch.at(index(segment.home));
    if (now.requests == requests_per_home) {
      now = {.first_step = now.first_step + now.length};
    }
    ++now.requests;
    now.length = std::max(now.length, segment.count);
    for (std::size_t j = 0; j < segment.count; ++j) {
      steps.of_token[segment.begin + j] = static_cast<std::uint32_t>(now.first_step + j);
    }
    steps.count = std::max(steps.count, now.first_step + segment.count);
  }
  return steps;
}

}  // namespace moesaic::traffic
