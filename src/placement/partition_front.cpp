#include "placement/partition_front.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

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

namespace {

/// What one layer may choose: each more uneven than those before it, and with fewer copies.
struct Choice {
  std::size_t step = 0;
  std::int64_t copies = 0;
  double above = 0;        ///< imbalance over that of the first one
  std::size_t weight = 0;  ///< `above` in cells of the budget, rounded up
};
using Layers = std::vector<std::vector<Choice>>;

std::vector<Choice> choices_of(std::span<const std::int64_t> copies, std::span<const double> imbalance) {
  std::vector<Choice> all, kept;
  for (std::size_t s = 0; s < copies.size(); ++s) {
    if (copies[s] >= 0) all.push_back({.step = s, .copies = copies[s], .above = imbalance[s]});
  }
  MOESAIC_CHECK(!all.empty());
  std::ranges::sort(all, [](const Choice& a, const Choice& b) {
    return std::tuple(a.above, a.copies, a.step) < std::tuple(b.above, b.copies, b.step);
  });
  for (const Choice& choice : all) {
    if (kept.empty() || choice.copies < kept.back().copies) kept.push_back(choice);
  }
  const double least = kept[0].above;
  for (Choice& choice : kept) choice.above -= least;
  return kept;
}

/// [layers, width]: the choice of each layer with which it and those before it send fewest copies, where all
/// their weights together may be the cell's number.
std::vector<std::uint8_t> cheapest(const Layers& layers, std::size_t width) {
  std::vector<std::int64_t> before(width), sent(width);
  std::vector<std::uint8_t> taken(layers.size() * width);
  for (std::size_t layer = 0; layer < layers.size(); ++layer) {
    for (std::size_t cell = 0; cell < width; ++cell) {
      sent[cell] = std::numeric_limits<std::int64_t>::max();
      for (std::size_t c = 0; c < layers[layer].size() && layers[layer][c].weight <= cell; ++c) {
        const std::int64_t sum = before[cell - layers[layer][c].weight] + layers[layer][c].copies;
        if (sum < sent[cell]) sent[cell] = sum, taken[layer * width + cell] = static_cast<std::uint8_t>(c);
      }
    }
    before.swap(sent);
  }
  return taken;
}

}  // namespace

std::vector<std::size_t> share_budget(std::span<const std::int64_t> copies, std::span<const double> imbalance,
                                      double budget) {
  constexpr std::size_t kSteps = PartitionFront::kSteps;
  static_assert(kSteps <= 256);
  MOESAIC_CHECK(copies.size() == imbalance.size() && copies.size() % kSteps == 0);
  Layers layers;
  std::vector<std::size_t> chosen;
  double room = 0;
  for (std::size_t first = 0; first < copies.size(); first += kSteps) {
    layers.push_back(choices_of(copies.subspan(first, kSteps), imbalance.subspan(first, kSteps)));
    chosen.push_back(layers.back()[0].step);
    room += budget - imbalance[first + chosen.back()];
  }
  if (room <= 0) return chosen;
  constexpr std::size_t kCells = 20'000;
  const std::size_t width = kCells + layers.size() + 1;
  for (std::vector<Choice>& choices : layers) {
    for (Choice& choice : choices) {
      const double cells = std::ceil(choice.above / room * kCells);
      choice.weight = cells < static_cast<double>(width) ? static_cast<std::size_t>(cells) : width;
    }
  }
  const std::vector<std::uint8_t> taken = cheapest(layers, width);
  // Weights are rounded up: what takes kCells is within the budget, and up to a cell a layer more may be too.
  for (std::size_t most = width; most-- > kCells;) {
    std::size_t cell = most;
    double above = 0;
    for (std::size_t layer = layers.size(); layer-- > 0;) {
      const Choice& choice = layers[layer][taken[layer * width + cell]];
      chosen[layer] = choice.step;
      above += choice.above;
      cell -= choice.weight;
    }
    if (above <= room * (1 + 1e-9)) break;
  }
  return chosen;
}

}  // namespace moesaic::placement
