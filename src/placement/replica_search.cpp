#include <algorithm>
#include <limits>
#include <numeric>
#include <optional>
#include <utility>

#include "core/check.hpp"
#include "placement/replicas.hpp"

namespace moesaic::placement {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();
constexpr std::uint16_t kNoPart = 0xFFFF;

/// An expert leaves `drop` and enters `add`; either may be kNoPart.
struct Step {
  std::size_t expert = 0;
  std::uint16_t drop = kNoPart, add = kNoPart;
};

class ReplicaSearch {
 public:
  ReplicaSearch(const ReplicaProblem& problem, const Holders& start, Pcg32& random)
      : problem_(problem),
        random_(random),
        parts_(problem.table.part_count),
        most_copies_(problem.copies),
        holders_(start),
        partition_(problem.table, serving_parts(problem, start), false),
        load_(parts_),
        room_(parts_, static_cast<std::ptrdiff_t>(problem.capacity)),
        shift_(parts_),
        active_(problem.experts),
        rests_until_(problem.experts * parts_) {
    const auto rows = item_rows(problem.table);
    const std::size_t classes = problem.classes.size();
    for (std::size_t item = 0; item < rows.size(); ++item) {
      if (rows[item] > 0 || problem.load_of_item[item] > 0) {
        active_[item / classes].push_back(static_cast<std::uint32_t>(item % classes));
      }
      load_[partition_.part(item)] += problem.load_of_item[item];
    }
    for (const auto& list : holders_) {
      MOESAIC_CHECK(!list.empty());
      for (const std::uint16_t part : list) --room_[part];
    }
    const std::int64_t total = std::accumulate(load_.begin(), load_.end(), std::int64_t{0});
    price_ = total > 0 ? 2.0 * static_cast<double>(partition_.cost() + 1) / static_cast<double>(total) : 0;
  }

  /// Marginal gain: the best copy of any expert on any part with room, until all is full. Where only parts
  /// with room are left that all experts with copies to spare are on, some expert gets one copy too many.
  void fill() {
    while (std::ranges::any_of(room_, [](std::ptrdiff_t r) { return r > 0; })) {
      Step best;
      double best_score = kNever;
      for (std::size_t e = 0; e < problem_.experts; ++e) {
        for (std::size_t p = 0; p < parts_; ++p) {
          if (room_[p] <= 0) continue;
          const Step step{.expert = e, .add = static_cast<std::uint16_t>(p)};
          const double score = price(step);
          if (score < best_score) best_score = score, best = step;
        }
      }
      if (best_score < kNever) {
        apply(best);
      } else {
        MOESAIC_CHECK(most_copies_ != 0 && most_copies_ < parts_ * problem_.copies_a_part);
        ++most_copies_;
      }
    }
    most_copies_ = problem_.copies;
  }

  void walk(const ReplicaOptions& options) {
    record();
    for (std::size_t now = 0, since = 0; now < options.iterations && since < options.stale; ++now, ++since) {
      const Step first = choose_first(now);
      if (first.drop == kNoPart) continue;  // all rest
      apply(first);
      const Step second = choose_second(first, now);
      if (second.add == kNoPart) {
        apply({.expert = first.expert, .drop = first.add, .add = first.drop});
        rest(first.expert, first.drop, now);
        continue;
      }
      apply(second);
      rest(first.expert, first.drop, now);
      rest(second.expert, second.add, now);
      if (first.add != kNoPart) rest(first.expert, first.add, now);
      if (second.drop != kNoPart) rest(second.expert, second.drop, now);
      if (record()) since = 0;
    }
  }

  const Holders& best() const { return best_; }
  std::int64_t best_cost() const { return best_cost_; }
  std::int64_t best_excess() const { return best_excess_; }
  bool better_than(const ReplicaSearch& other) const {
    return std::pair(best_excess_, best_cost_) < std::pair(other.best_excess_, other.best_cost_);
  }

 private:
  std::int64_t over(std::int64_t load) const { return std::max<std::int64_t>(0, load - problem_.load_limit); }
  std::int64_t excess_now() const {
    std::int64_t sum = 0;
    for (const std::int64_t load : load_) sum += over(load);
    return sum;
  }

  bool allowed(const Step& step) const {
    const auto& list = holders_[step.expert];
    if (step.drop == step.add) return false;
    if (step.drop != kNoPart && !problem_.pinned.empty() &&
        problem_.pinned[step.expert * parts_ + step.drop] != 0 && std::ranges::count(list, step.drop) == 1) {
      return false;
    }
    const std::size_t after = list.size() - (step.drop != kNoPart) + (step.add != kNoPart);
    if (after == 0 || (most_copies_ != 0 && after > std::max(most_copies_, list.size()))) return false;
    return step.add == kNoPart ||
           static_cast<std::size_t>(std::ranges::count(list, step.add)) < problem_.copies_a_part;
  }

  const std::vector<std::uint16_t>& after(const Step& step) {
    after_ = holders_[step.expert];
    if (step.drop != kNoPart) after_.erase(std::ranges::find(after_, step.drop));
    if (step.add != kNoPart) after_.insert(std::ranges::upper_bound(after_, step.add), step.add);
    return after_;
  }

  /// Change of copies plus priced change of excess; kNever if the step is not allowed. Exact: the classes of
  /// an expert never meet in a pattern.
  double price(const Step& step) {
    if (!allowed(step)) return kNever;
    const auto& list = after(step);
    const std::size_t base = step.expert * problem_.classes.size();
    std::int64_t delta = 0;
    bool moved = false;
    for (const std::uint32_t c : active_[step.expert]) {
      const std::size_t item = base + c, from = partition_.part(item),
                        to = serving_part(list, problem_.classes[c]);
      if (from == to) continue;
      delta += partition_.move_delta(item, to);
      shift_[from] -= problem_.load_of_item[item];
      shift_[to] += problem_.load_of_item[item];
      moved = true;
    }
    if (!moved) return 0;
    std::int64_t more = 0;
    for (std::size_t p = 0; p < parts_; ++p) {
      if (shift_[p] != 0) more += over(load_[p] + shift_[p]) - over(load_[p]);
      shift_[p] = 0;
    }
    return static_cast<double>(delta) + price_ * static_cast<double>(more);
  }

  void apply(const Step& step) {
    holders_[step.expert] = after(step);
    if (step.drop != kNoPart) ++room_[step.drop];
    if (step.add != kNoPart) --room_[step.add];
    const std::size_t classes = problem_.classes.size();
    for (std::size_t c = 0; c < classes; ++c) {
      const std::size_t item = step.expert * classes + c, from = partition_.part(item);
      const std::size_t to = serving_part(holders_[step.expert], problem_.classes[c]);
      if (from == to) continue;
      load_[from] -= problem_.load_of_item[item];
      load_[to] += problem_.load_of_item[item];
      partition_.move(item, to);
    }
  }

  bool rests(std::size_t expert, std::size_t part, std::size_t now) const {
    return rests_until_[expert * parts_ + part] > now;
  }
  void rest(std::size_t expert, std::size_t part, std::size_t now) {
    const auto span = static_cast<std::uint32_t>(std::max<std::size_t>(1, problem_.experts / 16));
    rests_until_[expert * parts_ + part] = now + 1 + span + random_.below(span + 1);
  }

  /// Two cheapest of a list of (score, expert): a partner must be another expert.
  struct Two {
    double score[2] = {kNever, kNever};
    std::size_t expert[2] = {0, 0};
    void offer(double s, std::size_t e) {
      if (s < score[0]) {
        score[1] = score[0], expert[1] = expert[0];
        score[0] = s, expert[0] = e;
      } else if (s < score[1]) {
        score[1] = s, expert[1] = e;
      }
    }
    double without(std::size_t e) const { return expert[0] == e ? score[1] : score[0]; }
  };

  Step choose_first(std::size_t now) {
    std::vector<Two> add(parts_), move(parts_ * parts_);
    std::vector<std::pair<Step, double>> firsts;
    for (std::size_t e = 0; e < problem_.experts; ++e) {
      for (std::size_t to = 0; to < parts_; ++to) {
        if (rests(e, to, now)) continue;
        const Step enter{.expert = e, .add = static_cast<std::uint16_t>(to)};
        add[to].offer(price(enter), e);
        for (std::size_t i = 0; i < holders_[e].size(); ++i) {
          const std::uint16_t from = holders_[e][i];
          if (i > 0 && holders_[e][i - 1] == from) continue;
          if (rests(e, from, now)) continue;
          const Step step{.expert = e, .drop = from, .add = enter.add};
          const double score = price(step);
          if (score == kNever) continue;
          move[from * parts_ + to].offer(score, e);
          firsts.emplace_back(step, score);
        }
      }
      for (const std::uint16_t from : std::vector(holders_[e])) {
        if (rests(e, from, now)) continue;
        const Step leave{.expert = e, .drop = from};
        const double score = price(leave);
        if (score != kNever) firsts.emplace_back(leave, score);
      }
    }
    Step best;
    double best_score = kNever;
    for (const auto& [step, score] : firsts) {
      const Two& partner = step.add == kNoPart ? add[step.drop] : move[step.add * parts_ + step.drop];
      const double sum = score + partner.without(step.expert);
      if (sum < best_score) best_score = sum, best = step;
    }
    return best;
  }

  Step choose_second(const Step& first, std::size_t now) {
    Step best;
    double best_score = kNever;
    for (std::size_t e = 0; e < problem_.experts; ++e) {
      if (e == first.expert || rests(e, first.drop, now)) continue;
      Step step{.expert = e, .add = first.drop};
      if (first.add != kNoPart) {
        step.drop = first.add;
        if (rests(e, first.add, now) || std::ranges::find(holders_[e], first.add) == holders_[e].end())
          continue;
      }
      const double score = price(step);
      if (score < best_score) best_score = score, best = step;
    }
    return best;
  }

  bool record() {
    const std::int64_t excess = excess_now();
    inside_ = excess == 0 ? std::max(inside_, 0) + 1 : std::min(inside_, 0) - 1;
    if (inside_ % 4 == 0) price_ *= inside_ > 0 ? 0.8 : 1.25;
    if (excess > best_excess_ || (excess == best_excess_ && partition_.cost() >= best_cost_)) return false;
    best_excess_ = excess;
    best_cost_ = partition_.cost();
    best_ = holders_;
    return true;
  }

  const ReplicaProblem& problem_;
  Pcg32& random_;
  std::size_t parts_, most_copies_;
  Holders holders_, best_;
  Partition partition_;
  std::vector<std::int64_t> load_;
  std::vector<std::ptrdiff_t> room_;
  std::vector<std::int64_t> shift_;                 ///< [parts], scratch of price(), zero between calls
  std::vector<std::uint16_t> after_;                ///< scratch of after()
  std::vector<std::vector<std::uint32_t>> active_;  ///< [experts]: classes that have rows
  std::vector<std::size_t> rests_until_;            ///< [experts, parts]
  double price_ = 0;                                ///< copies a unit of excess is worth
  int inside_ = 0;                                  ///< steps inside (> 0) or outside (< 0) the load limit
  std::int64_t best_excess_ = std::numeric_limits<std::int64_t>::max(), best_cost_ = best_excess_;
};

}  // namespace

Holders demand_holders(const ReplicaProblem& problem) {
  const std::size_t parts = problem.table.part_count, classes = problem.classes.size();
  std::vector<std::int64_t> demand(problem.experts * parts);
  for (std::size_t pattern = 0; pattern < problem.table.size(); ++pattern) {
    for (const std::uint32_t item : problem.table.items_of(pattern)) {
      demand[item / classes * parts + problem.table.home[pattern]] += problem.table.weight[pattern];
    }
  }
  std::vector<std::size_t> order(demand.size()), room(parts, problem.capacity);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, [&](std::size_t x, std::size_t y) { return demand[x] > demand[y]; });
  Holders holders(problem.experts);
  std::size_t left = parts * problem.capacity, without = problem.experts;
  for (const std::size_t pair : order) {
    std::vector<std::uint16_t>& list = holders[pair / parts];
    const std::size_t part = pair % parts;
    if (room[part] == 0 || (!list.empty() && left <= without)) continue;
    if (problem.copies != 0 && list.size() >= problem.copies) continue;
    without -= list.empty();
    list.insert(std::ranges::upper_bound(list, part), static_cast<std::uint16_t>(part));
    --room[part];
    --left;
  }
  return holders;
}

Holders search_replicas(const ReplicaProblem& problem, std::span<const Holders> starts,
                        const ReplicaOptions& options, Pcg32& random, ReplicaStats* stats) {
  MOESAIC_CHECK(!starts.empty() && problem.table.item_count == problem.experts * problem.classes.size() &&
                problem.load_of_item.size() == problem.table.item_count);
  std::optional<ReplicaSearch> best;
  for (const Holders& start : starts) {
    MOESAIC_CHECK(start.size() == problem.experts);
    ReplicaSearch search(problem, start, random);
    search.fill();
    search.walk(options);
    if (!best || search.better_than(*best)) best.emplace(std::move(search));
  }
  if (stats != nullptr) *stats = {.cost = best->best_cost(), .excess = best->best_excess()};
  return best->best();
}

}  // namespace moesaic::placement
