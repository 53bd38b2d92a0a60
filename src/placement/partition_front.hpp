// What a search has met, beyond the one best under a limit: for every hundredth of imbalance the assignment
// that sends fewest copies. What a layer would save by more imbalance, and lose by less, stands in it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace moesaic::placement {

class PartitionFront {
 public:
  static constexpr std::size_t kSteps = 100;
  static constexpr double kStep =
      0.01;  ///< of imbalance: heaviest part over that of the most even assignment

  struct Point {
    std::int64_t copies = 0;
    std::vector<std::uint16_t> part_of_item{};  ///< empty: none met
  };

  /// `evenest`: the heaviest part of the most even assignment known.
  explicit PartitionFront(std::int64_t evenest) : evenest_(static_cast<double>(evenest)) {}

  /// Remembers it if it sends fewer copies than all met in its step; beyond the last step it is forgotten.
  /// O(parts), and O(items) when remembered.
  void offer(std::int64_t copies, std::span<const std::int64_t> part_load,
             std::span<const std::uint16_t> part_of_item);
  /// Step s holds an imbalance of 1 + s kStep to 1 + (s + 1) kStep; step 0 what is more even, too.
  const Point& step(std::size_t s) const { return points_[s]; }

 private:
  double evenest_;
  std::array<Point, kSteps> points_{};
};

/// The step to take in each layer so that copies over all layers are fewest while the mean imbalance is at
/// most `budget`, or as low as it can be where no choice is within: a layer may be more uneven where that
/// saves much, and pays with one where it saves little. A multiple-choice knapsack, by dynamic programming
/// (Kellerer, Pferschy, Pisinger 2004, chapter 11) over the budget above the most even choices in 20,000
/// cells: no choice that leaves a cell a layer unused sends less. `copies` and `imbalance` are [layers,
/// kSteps]; copies < 0: no such choice. O(layers kSteps cells): a tenth of a second for 58 layers. REQUIRES:
/// a choice in every layer.
std::vector<std::size_t> share_budget(std::span<const std::int64_t> copies, std::span<const double> imbalance,
                                      double budget);

}  // namespace moesaic::placement
