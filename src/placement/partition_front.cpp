#include "placement/partition_front.hpp"

#include <algorithm>
#include <limits>

#include "core/check.hpp"

namespace moesaic::placement {

void PartitionFront::offer(std::int64_t copies, std::span<const std::int64_t> part_load,
                           std::span<const std::uint16_t> part_of_item) {
  const double imbalance = evenest_ > 0 ? static_cast<double>(std::ranges::max(part_load)) / evenest_ : 1;
  const double step = (imbalance - 1) / kStep;
  if (!(step < static_cast<double>(kSteps))) return;
  Point& point = points_[static_cast<std::size_t>(std::max(0.0, step))];
  if (!point.part_of_item.empty() && copies >= point.copies) return;
  point.copies = copies;
  point.part_of_item.assign(part_of_item.begin(), part_of_item.end());
}

std::vector<std::size_t> share_budget(std::span<const std::int64_t> copies, std::span<const double> imbalance,
                                      double budget) {
  constexpr std::size_t kSteps = PartitionFront::kSteps;
  MOESAIC_CHECK(copies.size() == imbalance.size() && copies.size() % kSteps == 0);
  const std::size_t layers = copies.size() / kSteps;
  std::vector<std::size_t> chosen(layers);
  const auto choose = [&](double price) {  // the mean imbalance at that price
    double sum = 0;
    for (std::size_t layer = 0; layer < layers; ++layer) {
      double best = std::numeric_limits<double>::infinity();
      for (std::size_t i = layer * kSteps; i < (layer + 1) * kSteps; ++i) {
        if (copies[i] < 0) continue;
        const double score = static_cast<double>(copies[i]) + price * imbalance[i];
        if (score < best) best = score, chosen[layer] = i - layer * kSteps;
      }
      MOESAIC_CHECK(best < std::numeric_limits<double>::infinity());
      sum += imbalance[layer * kSteps + chosen[layer]];
    }
    return sum / static_cast<double>(std::max<std::size_t>(1, layers));
  };
  if (choose(0) <= budget) return chosen;
  // So dear that every layer is as even as it can be: no step saves more copies than there are.
  double low = 0, high = 1;
  for (const std::int64_t c : copies) high = std::max(high, static_cast<double>(c));
  high *= 1e9;
  for (int halving = 0; halving < 100; ++halving) {
    const double price = (low + high) / 2;
    (choose(price) <= budget ? high : low) = price;
  }
  choose(high);
  return chosen;
}

}  // namespace moesaic::placement
