#include "placement/pinned_starts.hpp"

#include <algorithm>
#include <cstdlib>

#include "core/check.hpp"

namespace moesaic::placement {

void obey(std::span<const std::uint16_t> fixed, std::span<const std::int64_t> loads,
          std::vector<std::uint16_t>& part_of_item) {
  for (std::size_t e = 0; e < fixed.size(); ++e) {
    if (fixed[e] == kFree || fixed[e] == part_of_item[e]) continue;
    std::size_t best = fixed.size();
    const auto gap = [&](std::size_t f) { return std::abs(loads[e] - loads[f]); };
    for (std::size_t f = 0; f < fixed.size(); ++f) {
      if (part_of_item[f] != fixed[e] || fixed[f] == fixed[e]) continue;
      if (best == fixed.size() || gap(f) < gap(best)) best = f;
    }
    MOESAIC_CHECK(best < fixed.size());
    std::swap(part_of_item[e], part_of_item[best]);
  }
}

namespace {

/// Holders while pins are met.
class Copies {
 public:
  Copies(const ReplicaProblem& problem, Holders& holders)
      : problem_(problem),
        parts_(problem.table.part_count),
        holders_(holders),
        room_(parts_, static_cast<std::ptrdiff_t>(problem.capacity)) {
    for (const auto& list : holders) {
      for (const std::uint16_t part : list) --room_[part];
    }
  }

  void meet(std::size_t expert, std::uint16_t part) {
    if (holds(expert, part)) return;
    if (room_[part] <= 0 && !drop_spare(part)) move_one_away(expert, part);
    add(expert, part);
  }

 private:
  bool pinned(std::size_t e, std::size_t part) const { return problem_.pinned[e * parts_ + part] != 0; }
  bool holds(std::size_t e, std::uint16_t part) const {
    return std::ranges::find(holders_[e], part) != holders_[e].end();
  }
  void add(std::size_t e, std::uint16_t part) {
    holders_[e].insert(std::ranges::upper_bound(holders_[e], part), part);
    --room_[part];
  }
  void remove(std::size_t e, std::uint16_t part) {
    holders_[e].erase(std::ranges::find(holders_[e], part));
    ++room_[part];
  }
  /// A copy on `part` that may go: not the last of its expert, nor a pinned one.
  bool drop_spare(std::uint16_t part) {
    for (std::size_t e = 0; e < problem_.experts; ++e) {
      const auto here = std::ranges::count(holders_[e], part);
      if (here == 0 || holders_[e].size() < 2 || (here == 1 && pinned(e, part))) continue;
      remove(e, part);
      return true;
    }
    return false;
  }
  /// Makes room on `part`, whose free copies are all the last of their experts: one of them goes to a part
  /// with room, to the place of a free copy of `expert`, or where another spare copy goes.
  void move_one_away(std::size_t expert, std::uint16_t part) {
    std::size_t leaver = 0;
    while (!holds(leaver, part) || pinned(leaver, part)) ++leaver;  // pins alone do not fill a part
    remove(leaver, part);
    for (const std::uint16_t own : std::vector(holders_[expert])) {
      if (pinned(expert, own)) continue;
      remove(expert, own);
      return add(leaver, own);
    }
    for (std::size_t to = 0; to < parts_; ++to) {
      if (to != part && room_[to] > 0) return add(leaver, static_cast<std::uint16_t>(to));
    }
    for (std::size_t to = 0; to < parts_; ++to) {
      if (to != part && drop_spare(static_cast<std::uint16_t>(to)))
        return add(leaver, static_cast<std::uint16_t>(to));
    }
    MOESAIC_CHECK(false);  // pins that can be met leave a slot for every other expert
  }

  const ReplicaProblem& problem_;
  std::size_t parts_;
  Holders& holders_;
  std::vector<std::ptrdiff_t> room_;
};

}  // namespace

void obey(const ReplicaProblem& problem, Holders& holders) {
  if (problem.pinned.empty()) return;
  Copies copies(problem, holders);
  const std::size_t parts = problem.table.part_count;
  for (std::size_t e = 0; e < problem.experts; ++e) {
    for (std::size_t part = 0; part < parts; ++part) {
      if (problem.pinned[e * parts + part] != 0) copies.meet(e, static_cast<std::uint16_t>(part));
    }
  }
}

}  // namespace moesaic::placement
