// Expert counts of the requests in the shared traces, read by small loops of their own so that tests of the
// lower modules need no importer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace moesaic::testing {

struct RealRequests {
  std::size_t layers = 0, experts = 0;
  std::vector<float> before{},
      after{};                         ///< [requests, layers, experts]: tokens predicted from, tokens scored
  std::vector<std::int64_t> tokens{};  ///< [requests] of `after`
  std::vector<std::string> ids{};
  std::vector<std::uint16_t> domains{};
};

/// traces/gpt-oss-20b-decode; `before` holds the leading floor(fraction * n) tokens. Domain = topic.
/// Empty when a file cannot be read.
RealRequests gpt_oss_requests(double fraction);

/// traces/llama4-maverick-mmlu: prefill and decode on the MoE layers. Domain = subject.
RealRequests llama4_requests();

}  // namespace moesaic::testing
