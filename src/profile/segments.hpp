// How profile walks a per-token trace: runs of tokens that belong together, in store order, cut into
// blocks that a thread reads at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "core/selection.hpp"
#include "trace/trace.hpp"

namespace moesaic::profile {

inline constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();

/// Tokens [begin, split) are prefill, [split, end) decode; anonymous tokens count as decode and are no
/// sequence. [picture_begin, picture_end) is what stands for the request's start and [rest_begin, end) for
/// what it is compared with: prefill and decode, or in a decode-only trace the first third and the rest.
struct Segment {
  std::uint64_t begin = 0, split = 0, end = 0;
  std::uint32_t request = kNone;
  std::uint16_t domain = 0;  ///< index into Walk::domains
  std::uint32_t window = 0;
  std::uint64_t picture_end = 0, rest_begin = 0;  ///< the picture starts at `begin`; equal to it: none
  std::uint32_t correlate = kNone;                ///< place among the requests whose correlation is measured
  std::uint32_t sampled = kNone;                  ///< place among the sampled requests
};

struct Block {
  std::uint64_t begin = 0, end = 0;  ///< tokens
  std::size_t first = 0, last = 0;   ///< segments
  bool pairs = false;                ///< co-activation and affinity look at this block
};

struct WalkOptions {
  std::size_t windows = 8, max_domains = 64;
  std::size_t correlated_requests = 4096, sampled_requests = 1024;
  std::uint64_t block_tokens = 65'536, pair_tokens = 262'144;
};

struct Walk {
  std::vector<Segment> segments;
  std::vector<Block> blocks;
  Phase phase = Phase::kDecode;  ///< the phase that figures without a phase are of
  bool stand_in = false;         ///< the picture is the first third of the decode
  bool arrivals = false;         ///< windows follow arrival times, else the store's order
  std::size_t windows = 1;
  std::vector<std::string> domains;
  std::vector<std::uint64_t> domain_tokens;  ///< of `phase`
  std::uint64_t prefill_tokens = 0, decode_tokens = 0, phase_tokens = 0, pair_tokens = 0;
  std::uint64_t anonymous_tokens = 0;
  std::size_t correlated = 0;
  std::vector<std::uint32_t> sampled;  ///< requests
};

/// REQUIRES: trace.kind() == kTokens. O(requests log requests).
Walk make_walk(const trace::Trace& trace, const WalkOptions& options);

/// Domains beyond the `keep` largest are one, "(others)", the last: code -> kept index. Labels of no weight
/// are dropped to kNoDomain.
inline constexpr std::uint16_t kNoDomain = 0xFFFF;
struct KeptDomains {
  std::vector<std::string> names;
  std::vector<std::uint16_t> of_code;
};
KeptDomains keep_domains(std::span<const std::string> names, std::span<const double> weights,
                         std::size_t keep);

}  // namespace moesaic::profile
