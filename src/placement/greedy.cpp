#include "placement/greedy.hpp"

#include <algorithm>
#include <queue>
#include <tuple>

#include "core/check.hpp"

namespace moesaic::placement {
namespace {

struct Wish {
  std::int64_t preference;
  std::int64_t load;
  std::uint32_t item;

  friend bool operator<(const Wish& a, const Wish& b) {  // the top of the queue is the largest
    return std::tuple(a.preference, a.load, b.item) < std::tuple(b.preference, b.load, a.item);
  }
};

class Greedy {
 public:
  explicit Greedy(const GreedyProblem& problem)
      : problem_(problem),
        items_(problem.load.size()),
        count_(problem.bins),
        load_(problem.bins),
        held_(problem.bins) {
    MOESAIC_CHECK(problem.bins * problem.capacity >= items_);
    MOESAIC_CHECK(problem.preference.size() == problem.bins * items_);
    MOESAIC_CHECK(problem.kind.empty() || problem.kind.size() == items_);
  }

  std::vector<std::uint32_t> run() {
    std::vector<std::uint32_t> bin_of(items_);
    std::priority_queue<Wish> wishes;
    for (std::uint32_t item = 0; item < items_; ++item) wishes.push(wish(item, best_bin(item)));
    while (!wishes.empty()) {
      const Wish top = wishes.top();
      wishes.pop();
      const std::uint32_t bin = best_bin(top.item);
      if (const Wish now = wish(top.item, bin); now.preference != top.preference) {
        wishes.push(now);  // its bin closed meanwhile: it queues again with what it wants next
        continue;
      }
      bin_of[top.item] = bin;
      ++count_[bin];
      load_[bin] += problem_.load[top.item];
      if (!problem_.kind.empty()) held_[bin].push_back(problem_.kind[top.item]);
    }
    return bin_of;
  }

 private:
  Wish wish(std::uint32_t item, std::uint32_t bin) const {
    return {problem_.preference[bin * items_ + item], problem_.load[item], item};
  }

  bool holds_kind(std::uint32_t bin, std::uint32_t item) const {
    return !problem_.kind.empty() && std::ranges::find(held_[bin], problem_.kind[item]) != held_[bin].end();
  }

  std::uint32_t best_bin(std::uint32_t item) const {
    // Bins rank by: does not hold the kind, stays below the limit, then preference where the limit holds,
    // then lightness, then index.
    using Rank = std::tuple<bool, bool, std::int64_t, std::int64_t>;
    std::uint32_t best = 0;
    Rank best_rank;
    bool found = false;
    for (std::uint32_t bin = 0; bin < problem_.bins; ++bin) {
      if (count_[bin] == problem_.capacity) continue;
      const bool fits = load_[bin] <= problem_.load_limit - problem_.load[item];
      const Rank rank{!holds_kind(bin, item), fits, fits ? problem_.preference[bin * items_ + item] : 0,
                      -load_[bin]};
      if (!found || rank > best_rank) {
        found = true;
        best = bin;
        best_rank = rank;
      }
    }
    MOESAIC_CHECK(found);
    return best;
  }

  const GreedyProblem& problem_;
  std::size_t items_;
  std::vector<std::size_t> count_;
  std::vector<std::int64_t> load_;
  std::vector<std::vector<std::uint32_t>> held_;
};

}  // namespace

std::vector<std::uint32_t> assign_greedily(const GreedyProblem& problem) { return Greedy(problem).run(); }

}  // namespace moesaic::placement
