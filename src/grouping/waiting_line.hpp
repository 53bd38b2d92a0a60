// Requests that wait, of which later ones may be taken first, but only so often: whoever picks out of order
// may not starve anybody.
//
// A request is taken at the latest after `max_passed` others since it came, or `late` turns after
// first-in-first-out would have taken it, whichever is later. This can always be kept: every request has a
// last turn, last turns never come before positions, and when one does equal its position only the requests
// up to it may be taken (the feasibility condition of unit jobs with deadlines; Jackson 1955).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/check.hpp"

namespace moesaic::grouping {

class WaitingLine {
 public:
  explicit WaitingLine(std::uint64_t max_passed, std::uint64_t late = 0)
      : max_passed_(max_passed), late_(late) {}

  /// Joins at the end. The number is the caller's own.
  void push(std::uint32_t request) {
    line_.push_back({request, taken_ + std::max<std::uint64_t>(max_passed_, line_.size() + late_)});
  }

  std::size_t size() const { return line_.size(); }
  bool empty() const { return line_.empty(); }
  /// In order of arrival. REQUIRES: i < size().
  std::uint32_t at(std::size_t i) const { return line_[i].request; }

  /// The first so many may be taken next; at least one unless empty. O(size).
  std::size_t eligible() const {
    for (std::size_t i = 0; i < line_.size(); ++i) {
      if (line_[i].last_turn == taken_ + i) return i + 1;
    }
    return line_.size();
  }

  /// REQUIRES: i < eligible(). O(size).
  std::uint32_t take(std::size_t i) {
    MOESAIC_DCHECK(i < eligible());
    const std::uint32_t request = line_[i].request;
    line_.erase(line_.begin() + static_cast<std::ptrdiff_t>(i));
    ++taken_;
    return request;
  }

 private:
  struct Place {
    std::uint32_t request = 0;
    std::uint64_t last_turn = 0;  ///< >= taken_ + position
  };
  std::uint64_t max_passed_, late_, taken_ = 0;
  std::vector<Place> line_;
};

/// Takes up to `count` requests one after the other, each time the one of least added(request) among the
/// first `look` eligible ones, the earlier on ties, and tells taken(request). Returns them in that order.
/// O(count x (size + look x cost of added)).
template <class Added, class Taken>
std::vector<std::uint32_t> take_cheapest(WaitingLine& line, std::size_t count, std::size_t look, Added added,
                                         Taken taken) {
  MOESAIC_CHECK(look > 0);
  std::vector<std::uint32_t> out;
  while (out.size() < count && !line.empty()) {
    const std::size_t among = std::min(look, line.eligible());
    std::size_t best = 0;
    // A choice of one needs no price.
    auto least = among > 1 ? added(line.at(0)) : decltype(added(line.at(0))){};
    for (std::size_t i = 1; i < among; ++i) {
      const auto here = added(line.at(i));
      if (here < least) best = i, least = here;
    }
    out.push_back(line.take(best));
    taken(out.back());
  }
  return out;
}

}  // namespace moesaic::grouping
