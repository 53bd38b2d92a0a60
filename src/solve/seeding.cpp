#include "solve/seeding.hpp"

#include <algorithm>
#include <numeric>

namespace moesaic::solve {
namespace {

/// An index with probability proportional to its weight; uniform when all weigh 0.
std::size_t draw(const std::vector<double>& weights, Pcg32& random) {
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  const double at = random.uniform() * total;
  if (!(total > 0)) return random.below(static_cast<std::uint32_t>(weights.size()));
  double sum = 0;
  std::size_t last = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] <= 0) continue;
    sum += weights[i];
    last = i;
    if (at < sum) break;
  }
  return last;
}

}  // namespace

std::vector<std::uint32_t> kmeans_plus_plus(const SparseRows& rows, std::size_t clusters, std::size_t at_most,
                                            Pcg32& random, ThreadPool& pool) {
  constexpr std::size_t kBlock = 256;
  std::vector<std::uint32_t> among(rows.rows());
  std::iota(among.begin(), among.end(), 0u);
  if (among.size() > at_most) {
    shuffle(std::span(among), random);
    among.resize(at_most);
    std::ranges::sort(among);
  }
  std::vector<double> distance(among.size(), 1.0);
  std::vector<float> centre(rows.width);
  std::vector<std::uint32_t> drawn;
  while (drawn.size() < clusters) {
    drawn.push_back(among[draw(distance, random)]);
    std::ranges::fill(centre, 0.0F);
    const SparseRows::Row row = rows.row(drawn.back());
    for (std::size_t i = 0; i < row.column.size(); ++i) centre[row.column[i]] = row.value[i];
    const bool first = drawn.size() == 1;
    pool.parallel_for((among.size() + kBlock - 1) / kBlock, [&](std::size_t block) {
      for (std::size_t i = block * kBlock; i < std::min(among.size(), (block + 1) * kBlock); ++i) {
        const double away = among[i] == drawn.back() ? 0 : std::max(0.0, 1 - dot(rows.row(among[i]), centre));
        distance[i] = first ? away : std::min(distance[i], away);
      }
    });
  }
  return drawn;
}

}  // namespace moesaic::solve
