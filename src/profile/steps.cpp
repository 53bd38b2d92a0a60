#include "profile/steps.hpp"

#include <algorithm>
#include <functional>
#include <queue>

#include "core/random.hpp"

namespace moesaic::profile {
namespace {

struct Span {
  std::uint64_t begin = 0, count = 0;
};

Span phase_span(const Walk& walk, const Segment& s) {
  return walk.phase == Phase::kPrefill ? Span{s.begin, s.split - s.begin} : Span{s.split, s.end - s.split};
}

std::vector<std::size_t> arrival_order(const Walk& walk, const trace::RequestTable& requests) {
  std::vector<std::size_t> order;
  for (std::size_t s = 0; s < walk.segments.size(); ++s) {
    if (walk.segments[s].request != kNone && phase_span(walk, walk.segments[s]).count > 0) order.push_back(s);
  }
  const auto key = [&](std::size_t s) {
    const std::uint32_t r = walk.segments[s].request;
    return requests.arrival_ns.empty() ? counter_hash({hash_bytes(requests.id[r])})
                                       : static_cast<std::uint64_t>(requests.arrival_ns[r]) ^ (1ull << 63);
  };
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return key(a) < key(b); });
  return order;
}

void sort(Schedule& schedule) {
  std::sort(schedule.tokens.begin(), schedule.tokens.end(), [](const StepToken& a, const StepToken& b) {
    return a.token != b.token ? a.token < b.token : a.step < b.step;
  });
}

}  // namespace

void add_steps(const Walk& walk, std::span<const std::size_t> order, std::size_t batch, std::size_t steps,
               std::uint16_t domain, Schedule& out) {
  if (order.size() < batch || steps == 0) return;
  // When each request starts: on the lane that is free first.
  std::priority_queue<std::uint64_t, std::vector<std::uint64_t>, std::greater<>> free_at;
  for (std::size_t lane = 0; lane < batch; ++lane) free_at.push(0);
  std::vector<std::uint64_t> start(order.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    start[i] = free_at.top();
    free_at.pop();
    free_at.push(start[i] + phase_span(walk, walk.segments[order[i]]).count);
  }
  const std::uint64_t busy = free_at.top();  // until then every lane runs something
  const std::uint64_t looked_at = std::min<std::uint64_t>(steps, busy);
  const auto first_step = static_cast<std::uint32_t>(out.domain_of_step.size());
  out.domain_of_step.resize(first_step + looked_at, domain);
  const auto time_of = [&](std::uint64_t step) { return (2 * step + 1) * busy / (2 * looked_at); };
  for (std::size_t i = 0; i < order.size(); ++i) {
    const Span span = phase_span(walk, walk.segments[order[i]]);
    // The first looked-at time that is not before the request.
    std::uint64_t low = 0, high = looked_at;
    while (low < high) {
      const std::uint64_t middle = (low + high) / 2;
      if (time_of(middle) < start[i]) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    for (; low < looked_at && time_of(low) < start[i] + span.count; ++low) {
      out.tokens.push_back(
          {span.begin + (time_of(low) - start[i]), first_step + static_cast<std::uint32_t>(low)});
    }
  }
}

Schedule mixed_steps(const Walk& walk, const trace::RequestTable& requests, std::size_t batch,
                     std::size_t steps) {
  Schedule out{.batch = batch, .domain_of_step = {}, .tokens = {}};
  add_steps(walk, arrival_order(walk, requests), batch, steps, kNoDomain, out);
  sort(out);
  return out;
}

Schedule same_kind_steps(const Walk& walk, const trace::RequestTable& requests, std::size_t batch,
                         std::size_t steps, std::span<const std::uint16_t> kind_of_request,
                         std::size_t kinds) {
  Schedule out{.batch = batch, .domain_of_step = {}, .tokens = {}};
  std::vector<std::vector<std::size_t>> of_kind(kinds);
  for (const std::size_t s : arrival_order(walk, requests)) {
    const std::uint16_t kind = kind_of_request[walk.segments[s].request];
    if (kind != kNoDomain) of_kind[kind].push_back(s);
  }
  std::size_t able = 0;
  for (const auto& order : of_kind) able += order.size() >= batch;
  for (std::size_t kind = 0; kind < kinds && able > 0; ++kind) {
    add_steps(walk, of_kind[kind], batch, std::max<std::size_t>(1, steps / able),
              static_cast<std::uint16_t>(kind), out);
  }
  sort(out);
  return out;
}

}  // namespace moesaic::profile
