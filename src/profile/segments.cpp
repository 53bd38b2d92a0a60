#include "profile/segments.hpp"

#include <algorithm>
#include <numeric>

namespace moesaic::profile {
namespace {

/// Every `total / wanted`-th of `total`, from the first: true at `wanted` places at most.
bool evenly(std::size_t i, std::size_t total, std::size_t wanted) {
  if (total <= wanted) return true;
  return i * wanted / total != (i + 1) * wanted / total;
}

std::uint64_t phase_tokens(const Segment& s, Phase phase) {
  return phase == Phase::kPrefill ? s.split - s.begin : s.end - s.split;
}

void add_anonymous(std::vector<Segment>& out, std::uint64_t from, std::uint64_t to, std::uint64_t piece) {
  while (from < to) {
    const std::uint64_t end = std::min(to, from + piece);
    Segment gap;
    gap.begin = gap.split = gap.picture_end = gap.rest_begin = from;
    gap.end = end;
    out.push_back(gap);
    from = end;
  }
}

void set_windows(Walk& walk, const trace::RequestTable& requests, std::size_t windows) {
  std::vector<std::size_t> order(walk.segments.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  walk.arrivals = !requests.arrival_ns.empty();
  if (walk.arrivals) {
    const auto arrival = [&](std::size_t s) {
      const std::uint32_t r = walk.segments[s].request;
      return r == kNone ? std::numeric_limits<std::int64_t>::max() : requests.arrival_ns[r];
    };
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return arrival(a) < arrival(b); });
  }
  walk.windows = windows;
  std::uint64_t before = 0;
  for (const std::size_t s : order) {
    const std::uint64_t n = phase_tokens(walk.segments[s], walk.phase);
    const std::uint64_t at = before + n / 2;  // a request is in the window of its middle
    walk.segments[s].window = static_cast<std::uint32_t>(
        std::min<std::uint64_t>(windows - 1, at * windows / std::max<std::uint64_t>(1, walk.phase_tokens)));
    before += n;
  }
}

void set_pictures(Walk& walk) {
  for (Segment& s : walk.segments) {
    s.picture_end = s.rest_begin = s.begin;
    if (s.request == kNone) continue;
    if (walk.stand_in) {
      const std::uint64_t n = s.end - s.split;
      if (n >= 3) s.picture_end = s.rest_begin = s.split + std::min<std::uint64_t>(48, n / 3);
    } else if (s.split > s.begin && s.end > s.split) {
      s.picture_end = s.rest_begin = s.split;
    }
  }
}

void choose_requests(Walk& walk, const WalkOptions& options) {
  std::size_t pictured = 0, usable = 0;
  for (const Segment& s : walk.segments) {
    pictured += s.picture_end > s.begin;
    usable += s.request != kNone && phase_tokens(s, walk.phase) >= 4;
  }
  std::size_t p = 0, u = 0;
  for (Segment& s : walk.segments) {
    if (s.picture_end > s.begin && evenly(p++, pictured, options.correlated_requests))
      s.correlate = static_cast<std::uint32_t>(walk.correlated++);
    if (s.request != kNone && phase_tokens(s, walk.phase) >= 4 &&
        evenly(u++, usable, options.sampled_requests)) {
      s.sampled = static_cast<std::uint32_t>(walk.sampled.size());
      walk.sampled.push_back(s.request);
    }
  }
}

void cut_blocks(Walk& walk, const WalkOptions& options) {
  for (std::size_t s = 0; s < walk.segments.size();) {
    Block block{.begin = walk.segments[s].begin, .first = s};
    while (s < walk.segments.size() &&
           (s == block.first || walk.segments[s].end - block.begin <= options.block_tokens))
      ++s;
    block.last = s;
    block.end = walk.segments[s - 1].end;
    walk.blocks.push_back(block);
  }
  std::uint64_t total = 0;
  for (const Segment& s : walk.segments) total += s.end - s.begin;
  const std::size_t wanted =
      total <= options.pair_tokens
          ? walk.blocks.size()
          : static_cast<std::size_t>(std::max<std::uint64_t>(1, options.pair_tokens / options.block_tokens));
  for (std::size_t b = 0; b < walk.blocks.size(); ++b) {
    Block& block = walk.blocks[b];
    block.pairs = evenly(b, walk.blocks.size(), wanted);
    for (std::size_t s = block.first; block.pairs && s < block.last; ++s)
      walk.pair_tokens += phase_tokens(walk.segments[s], walk.phase);
  }
}

}  // namespace

KeptDomains keep_domains(std::span<const std::string> names, std::span<const double> weights,
                         std::size_t keep) {
  std::vector<std::size_t> order;
  for (std::size_t d = 0; d < names.size(); ++d) {
    if (weights[d] > 0) order.push_back(d);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return weights[a] > weights[b]; });
  KeptDomains out;
  out.of_code.assign(names.size(), kNoDomain);
  const bool others = order.size() > keep;
  const std::size_t kept = others ? keep - 1 : order.size();
  for (std::size_t i = 0; i < order.size(); ++i) {
    out.of_code[order[i]] = static_cast<std::uint16_t>(std::min(i, kept));
    if (i < kept) out.names.push_back(names[order[i]]);
  }
  if (others) out.names.emplace_back("(others)");
  return out;
}

Walk make_walk(const trace::Trace& trace, const WalkOptions& options) {
  const trace::RequestTable& requests = trace.requests();
  Walk walk;
  std::uint64_t at = 0;
  for (std::size_t r = 0; r < requests.size(); ++r) {
    add_anonymous(walk.segments, at, requests.start[r], options.block_tokens);
    Segment s;
    s.begin = requests.start[r];
    s.split = s.begin + requests.prefill_tokens[r];
    s.end = s.split + requests.decode_tokens[r];
    s.request = static_cast<std::uint32_t>(r);
    walk.segments.push_back(s);
    at = s.end;
  }
  add_anonymous(walk.segments, at, trace.tokens(), options.block_tokens);
  for (const Segment& s : walk.segments) {
    walk.prefill_tokens += s.split - s.begin;
    walk.decode_tokens += s.end - s.split;
    if (s.request == kNone) walk.anonymous_tokens += s.end - s.begin;
  }
  walk.phase = walk.decode_tokens > 0 ? Phase::kDecode : Phase::kPrefill;
  walk.stand_in = walk.prefill_tokens == 0;
  walk.phase_tokens = walk.phase == Phase::kDecode ? walk.decode_tokens : walk.prefill_tokens;

  std::vector<std::string> names = requests.domains;
  names.emplace_back("(anonymous)");
  std::vector<double> weights(names.size());
  const auto code = [&](const Segment& s) {
    return s.request == kNone ? names.size() - 1 : std::size_t{requests.domain[s.request]};
  };
  for (const Segment& s : walk.segments) weights[code(s)] += static_cast<double>(s.end - s.begin);
  KeptDomains kept = keep_domains(names, weights, options.max_domains);
  walk.domains = std::move(kept.names);
  walk.domain_tokens.assign(walk.domains.size(), 0);
  for (Segment& s : walk.segments) {
    s.domain = kept.of_code[code(s)];
    if (s.domain == kNoDomain) s.domain = 0;  // a request without tokens
    if (!walk.domain_tokens.empty()) walk.domain_tokens[s.domain] += phase_tokens(s, walk.phase);
  }
  set_windows(walk, requests, options.windows);
  set_pictures(walk);
  choose_requests(walk, options);
  cut_blocks(walk, options);
  return walk;
}

}  // namespace moesaic::profile
