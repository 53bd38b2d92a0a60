#include "simulate/request_deck.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "core/check.hpp"

namespace moesaic::simulate {
namespace {

std::vector<std::size_t> requests_by_domain(const Recording& recording) {
  std::vector<std::size_t> sizes(std::max<std::size_t>(1, recording.domains.size()));
  for (const RecordedRequest& request : recording.requests) ++sizes[request.domain];
  return sizes;
}

}  // namespace

Status validate(const Mix& mix, const Recording& recording) {
  if (!(mix.share >= 0 && mix.share <= 1)) {
    return bad_input(fmt::format("mix: share is {}, expected 0 to 1", mix.share));
  }
  if (mix.period <= Nanoseconds(0)) return bad_input("mix: period must be more than 0");
  if (mix.kind != Mix::Kind::kSkewed || mix.domain.empty()) return {};
  const std::vector<std::size_t> sizes = requests_by_domain(recording);
  for (std::size_t d = 0; d < recording.domains.size(); ++d) {
    if (recording.domains[d] == mix.domain && sizes[d] > 0) return {};
  }
  return bad_input(fmt::format("mix: no request has the domain \"{}\"; the trace has {}", mix.domain,
                               fmt::join(recording.domains, ", ")));
}

RequestDeck::RequestDeck(const Recording& recording, const Mix& mix, std::uint64_t seed)
    : recording_(recording), mix_(mix), random_(seed, 0xDECC), idle_(), favoured_() {
  const std::vector<std::size_t> sizes = requests_by_domain(recording);
  idle_.resize(sizes.size());
  for (std::uint32_t r = 0; r < recording.requests.size(); ++r) {
    idle_[recording.requests[r].domain].push_back(r);
  }
  idle_count_ = static_cast<std::uint32_t>(recording.requests.size());
  favoured_.resize(sizes.size());
  std::iota(favoured_.begin(), favoured_.end(), std::size_t{0});
  std::ranges::stable_sort(favoured_, [&](auto a, auto b) { return sizes[a] > sizes[b]; });
  // Traffic shifts between the larger domains: a tiny one would run out at once.
  const std::size_t mean = recording.requests.size() / sizes.size();
  std::erase_if(favoured_, [&](std::size_t d) { return 2 * sizes[d] < mean; });
  if (mix.kind == Mix::Kind::kSkewed && !mix.domain.empty()) {
    const auto named = std::ranges::find(recording.domains, mix.domain);
    MOESAIC_CHECK(named != recording.domains.end());
    favoured_ = {static_cast<std::size_t>(named - recording.domains.begin())};
  }
}

std::uint32_t RequestDeck::take(std::size_t domain, std::uint32_t i) {
  std::vector<std::uint32_t>& idle = idle_[domain];
  const std::uint32_t request = idle[i];
  idle[i] = idle.back();
  idle.pop_back();
  --idle_count_;
  return request;
}

std::optional<std::uint32_t> RequestDeck::draw(Nanoseconds at) {
  if (idle_count_ == 0) return std::nullopt;
  std::size_t excluded = idle_.size();
  if (mix_.kind != Mix::Kind::kMixed) {
    const std::size_t turn =
        mix_.kind == Mix::Kind::kSkewed ? 0 : static_cast<std::size_t>(at / mix_.period) % favoured_.size();
    const std::size_t domain = favoured_[turn];
    if (random_.uniform() < mix_.share) {
      if (!idle_[domain].empty()) {
        return take(domain, random_.below(static_cast<std::uint32_t>(idle_[domain].size())));
      }
      ++fallbacks_;
    }
    if (idle_[domain].size() < idle_count_) excluded = domain;
  }
  std::uint32_t among = idle_count_;
  if (excluded < idle_.size()) among -= static_cast<std::uint32_t>(idle_[excluded].size());
  std::uint32_t i = random_.below(among);
  for (std::size_t domain = 0;; ++domain) {
    if (domain == excluded) continue;
    const auto size = static_cast<std::uint32_t>(idle_[domain].size());
    if (i < size) return take(domain, i);
    i -= size;
  }
}

void RequestDeck::put_back(std::uint32_t request) {
  idle_[recording_.requests[request].domain].push_back(request);
  ++idle_count_;
}

}  // namespace moesaic::simulate
