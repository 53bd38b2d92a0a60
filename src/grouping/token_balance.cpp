#include "grouping/token_balance.hpp"

#include <algorithm>
#include <numeric>

#include "core/check.hpp"

namespace moesaic::grouping {
namespace {

constexpr std::size_t kSwapCandidates = 64;  // a group: those that lose least by leaving

struct Move {
  double loss = 0;  ///< of score, a token that leaves
  std::uint32_t request = 0, to = 0;
  auto operator<=>(const Move&) const = default;
};

class Repair {
 public:
  Repair(std::span<const double> scores, std::span<const std::int64_t> tokens, std::span<const double> shares,
         double epsilon, std::vector<std::uint32_t>& group_of)
      : scores_(scores), tokens_(tokens), groups_(shares.size()), group_of_(group_of), load_(groups_) {
    const double all = static_cast<double>(std::accumulate(tokens.begin(), tokens.end(), std::int64_t{0}));
    for (const double share : shares) bound_.push_back((1 + epsilon) * share * all);
    for (std::size_t i = 0; i < group_of.size(); ++i) load_[group_of[i]] += weight(i);
  }

  bool run() {
    move_out();
    // Each swap takes tokens from a group above its bound; so many are plenty, and bound the work.
    for (std::size_t swaps = 0; swaps < group_of_.size() && swap_out(); ++swaps) {
    }
    for (std::size_t g = 0; g < groups_; ++g) {
      if (above(g)) return false;
    }
    return true;
  }

 private:
  double weight(std::size_t i) const { return static_cast<double>(tokens_[i]); }
  double score(std::size_t i, std::size_t g) const { return scores_[i * groups_ + g]; }
  bool above(std::size_t g) const { return load_[g] > bound_[g]; }

  void put(std::uint32_t request, std::uint32_t group) {
    load_[group_of_[request]] -= weight(request);
    group_of_[request] = group;
    load_[group] += weight(request);
  }

  /// Single moves, cheapest first. A group with room only ever fills here, so one pass finds them all.
  void move_out() {
    std::vector<Move> moves;
    for (std::uint32_t i = 0; i < group_of_.size(); ++i) {
      const std::size_t from = group_of_[i];
      if (!above(from) || tokens_[i] <= 0) continue;
      for (std::uint32_t to = 0; to < groups_; ++to) {
        if (load_[to] + weight(i) > bound_[to]) continue;
        moves.push_back({(score(i, from) - score(i, to)) / weight(i), i, to});
      }
    }
    std::ranges::sort(moves);
    for (const Move& move : moves) {
      if (above(group_of_[move.request]) && load_[move.to] + weight(move.request) <= bound_[move.to]) {
        put(move.request, move.to);
      }
    }
  }

  /// The requests of `from` that lose least by going to `to`, weighed or not.
  std::vector<std::uint32_t> cheapest(std::size_t from, std::size_t to) const {
    std::vector<std::pair<double, std::uint32_t>> leavers;
    for (std::uint32_t i = 0; i < group_of_.size(); ++i) {
      if (group_of_[i] == from) leavers.emplace_back(score(i, from) - score(i, to), i);
    }
    const std::size_t keep = std::min(kSwapCandidates, leavers.size());
    std::ranges::partial_sort(leavers, leavers.begin() + static_cast<std::ptrdiff_t>(keep));
    std::vector<std::uint32_t> requests;
    for (std::size_t i = 0; i < keep; ++i) requests.push_back(leavers[i].second);
    return requests;
  }

  /// The best exchange of a heavy request of the fullest group for a lighter one elsewhere.
  bool swap_out() {
    std::size_t from = 0;
    for (std::size_t g = 1; g < groups_; ++g) {
      if (load_[g] * bound_[from] > load_[from] * bound_[g]) from = g;
    }
    if (!above(from)) return false;
    const double excess = load_[from] - bound_[from];
    Move best;
    std::uint32_t other = 0;
    bool found = false;
    for (std::uint32_t to = 0; to < groups_; ++to) {
      if (to == from || above(to)) continue;
      const auto back = cheapest(to, from);
      for (const std::uint32_t i : cheapest(from, to)) {
        for (const std::uint32_t j : back) {
          const double shift = weight(i) - weight(j);
          if (shift <= 0 || load_[to] + shift > bound_[to]) continue;
          const double loss = score(i, from) - score(i, to) + score(j, to) - score(j, from);
          const Move move{loss / std::min(shift, excess), i, to};
          if (found && !(move < best)) continue;
          best = move;
          other = j;
          found = true;
        }
      }
    }
    if (!found) return false;
    put(best.request, best.to);
    put(other, static_cast<std::uint32_t>(from));
    return true;
  }

  std::span<const double> scores_;
  std::span<const std::int64_t> tokens_;
  std::size_t groups_;
  std::vector<std::uint32_t>& group_of_;
  std::vector<double> load_, bound_;
};

}  // namespace

bool balance_tokens(std::span<const double> scores, std::span<const std::int64_t> tokens,
                    std::span<const double> shares, double epsilon, std::vector<std::uint32_t>& group_of) {
  MOESAIC_CHECK(tokens.size() == group_of.size() && scores.size() == tokens.size() * shares.size());
  return Repair(scores, tokens, shares, epsilon, group_of).run();
}

double load_over_share(std::span<const std::int64_t> tokens, std::span<const std::uint32_t> group_of,
                       std::span<const double> shares) {
  std::vector<std::int64_t> load(shares.size());
  std::int64_t all = 0;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    load[group_of[i]] += tokens[i];
    all += tokens[i];
  }
  if (all == 0) return 1;
  double worst = 0;
  for (std::size_t g = 0; g < shares.size(); ++g) {
    worst = std::max(worst, static_cast<double>(load[g]) / (shares[g] * static_cast<double>(all)));
  }
  return worst;
}

}  // namespace moesaic::grouping
