#include "solve/balanced_kmeans.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/check.hpp"
#include "core/random.hpp"
#include "solve/seeding.hpp"
#include "solve/similarity.hpp"
#include "solve/transport.hpp"

namespace moesaic::solve {
namespace {

constexpr double kUnit = 0x1.0p40;  // integer costs an assignment sees: 1 - cosine in units of 2^-40
constexpr std::size_t kRowsAtATime = 1024;

std::int64_t quantised(double cosine) { return std::llrint((1 - cosine) * kUnit); }

/// Adds the time of a scope to a counter.
class Timer {
 public:
  Timer(const Clock* clock, Nanoseconds& total) : clock_(clock), total_(total) {
    if (clock_ != nullptr) begin_ = clock_->now();
  }
  ~Timer() {
    if (clock_ != nullptr) total_ += clock_->now() - begin_;
  }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

 private:
  const Clock* clock_;
  Nanoseconds& total_;
  Nanoseconds begin_{0};
};

class Lloyd {
 public:
  Lloyd(const SparseRows& items, const KmeansOptions& options, ThreadPool& pool)
      : items_(items),
        options_(options),
        pool_(pool),
        n_(items.rows()),
        k_(options.clusters),
        capacities_(options.capacities),
        cosines_(n_ * k_),
        costs_(options.balanced ? n_ * k_ : 0) {
    if (capacities_.empty()) capacities_.assign(k_, static_cast<std::int64_t>((n_ + k_ - 1) / k_));
  }

  Result<KmeansResult> run(std::vector<float> centroids, KmeansStats& stats) {
    KmeansResult now;
    now.centroids = std::move(centroids);
    now.prices.assign(k_, 0);
    MOESAIC_TRY(assign(now, stats));
    for (std::size_t i = 0; i < options_.max_iterations; ++i) {
      KmeansResult next = now;
      update(next, stats);
      MOESAIC_TRY(assign(next, stats));
      stats.converged = next.cluster_of_item == now.cluster_of_item;
      const double gain = now.objective - next.objective;
      now = std::move(next);
      if (stats.converged || gain < options_.tolerance * now.objective) break;
    }
    now.objective = exact_objective(now);
    return now;
  }

 private:
  double exact_objective(const KmeansResult& now) const {
    double sum = 0;
    const std::span<const float> centroids(now.centroids);
    for (std::size_t i = 0; i < n_; ++i) {
      sum += 1 - dot(items_.row(i), centroids.subspan(now.cluster_of_item[i] * items_.width, items_.width));
    }
    return sum;
  }

  Status assign(KmeansResult& now, KmeansStats& stats) {
    {
      const Timer timer(options_.clock, stats.similarity);
      similarities(items_, now.centroids, k_, cosines_, pool_);
    }
    const Timer timer(options_.clock, stats.assignment);
    if (options_.balanced) {
      MOESAIC_TRY(assign_balanced(now, stats));
    } else {
      assign_nearest(now);
    }
    now.objective = 0;
    for (std::size_t i = 0; i < n_; ++i) {
      now.objective += 1 - static_cast<double>(cosines_[i * k_ + now.cluster_of_item[i]]);
    }
    stats.objectives.push_back(now.objective);
    return {};
  }

  Status assign_balanced(KmeansResult& now, KmeansStats& stats) {
    pool_.parallel_for((n_ + kRowsAtATime - 1) / kRowsAtATime, [&](std::size_t block) {
      for (std::size_t i = block * kRowsAtATime * k_; i < std::min(n_, (block + 1) * kRowsAtATime) * k_;
           ++i) {
        costs_[i] = quantised(static_cast<double>(cosines_[i]));
      }
    });
    TransportStats transported;
    MOESAIC_ASSIGN(
        TransportResult result,
        transport({.items = n_, .bins = k_, .costs = costs_, .capacities = capacities_, .prices = now.prices},
                  &transported));
    stats.paths += transported.paths;
    now.cluster_of_item = std::move(result.bin_of_item);
    now.prices = std::move(result.prices);
    return {};
  }

  void assign_nearest(KmeansResult& now) {
    now.cluster_of_item.resize(n_);
    for (std::size_t i = 0; i < n_; ++i) {
      const auto row = std::span<const float>(cosines_).subspan(i * k_, k_);
      now.cluster_of_item[i] = static_cast<std::uint32_t>(std::ranges::max_element(row) - row.begin());
    }
  }

  void update(KmeansResult& now, KmeansStats& stats) {
    const Timer timer(options_.clock, stats.update);
    std::vector<std::vector<std::uint32_t>> members(k_);
    for (std::uint32_t i = 0; i < n_; ++i) members[now.cluster_of_item[i]].push_back(i);
    pool_.parallel_for(k_, [&](std::size_t c) {
      std::vector<double> sum(items_.width);
      for (const std::uint32_t i : members[c]) {
        const SparseRows::Row row = items_.row(i);
        for (std::size_t j = 0; j < row.column.size(); ++j)
          sum[row.column[j]] += static_cast<double>(row.value[j]);
      }
      double squares = 0;
      for (const double s : sum) squares += s * s;
      if (squares == 0) return;  // no members, or only rows of zeros: keep the centroid
      const double length = std::sqrt(squares);
      float* centroid = &now.centroids[c * items_.width];
      for (std::size_t d = 0; d < items_.width; ++d) centroid[d] = static_cast<float>(sum[d] / length);
    });
  }

  const SparseRows& items_;
  const KmeansOptions& options_;
  ThreadPool& pool_;
  std::size_t n_, k_;
  std::vector<std::int64_t> capacities_;
  std::vector<float> cosines_;       ///< [n, k]
  std::vector<std::int64_t> costs_;  ///< [n, k], balanced only
};

std::vector<float> seeds(const SparseRows& items, const KmeansOptions& options, Pcg32& random,
                         ThreadPool& pool) {
  const std::size_t at_most = std::max<std::size_t>(1, options.seeding_items_per_cluster) * options.clusters;
  std::vector<float> centroids(options.clusters * items.width);
  std::size_t at = 0;
  for (const std::uint32_t r : kmeans_plus_plus(items, options.clusters, at_most, random, pool)) {
    const SparseRows::Row row = items.row(r);
    for (std::size_t i = 0; i < row.column.size(); ++i) centroids[at + row.column[i]] = row.value[i];
    at += items.width;
  }
  return centroids;
}

}  // namespace

Result<KmeansResult> kmeans(const SparseRows& items, const KmeansOptions& options, ThreadPool& pool,
                            KmeansStats* stats) {
  const std::size_t k = options.clusters;
  MOESAIC_CHECK(items.rows() > 0 && k > 0);
  MOESAIC_CHECK(options.capacities.empty() || options.capacities.size() == k);
  MOESAIC_CHECK(options.initial.empty() || options.initial.size() == k * items.width);
  Lloyd lloyd(items, options, pool);
  if (!options.initial.empty()) {
    KmeansStats own;
    auto result = lloyd.run(options.initial, own);
    if (stats != nullptr) *stats = std::move(own);
    return result;
  }
  Pcg32 random(options.seed);
  KmeansResult best;
  KmeansStats total;
  for (std::size_t start = 0; start < std::max<std::size_t>(1, options.starts); ++start) {
    std::vector<float> centroids;
    {
      const Timer timer(options.clock, total.seeding);
      centroids = seeds(items, options, random, pool);
    }
    KmeansStats own;
    MOESAIC_ASSIGN(KmeansResult found, lloyd.run(std::move(centroids), own));
    total.paths += own.paths;
    total.similarity += own.similarity;
    total.assignment += own.assignment;
    total.update += own.update;
    if (start > 0 && found.objective >= best.objective) continue;
    best = std::move(found);
    total.objectives = std::move(own.objectives);
    total.converged = own.converged;
  }
  if (stats != nullptr) *stats = std::move(total);
  return best;
}

std::vector<std::uint32_t> align_centroids(std::span<const float> old_centroids,
                                           std::span<const float> new_centroids, std::size_t count) {
  MOESAIC_CHECK(count > 0 && old_centroids.size() == new_centroids.size() &&
                old_centroids.size() % count == 0);
  const std::size_t width = old_centroids.size() / count;
  std::vector<std::int64_t> costs(count * count);
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t j = 0; j < count; ++j) {
      double cosine = 0;
      for (std::size_t d = 0; d < width; ++d) {
        cosine += static_cast<double>(old_centroids[i * width + d]) *
                  static_cast<double>(new_centroids[j * width + d]);
      }
      costs[i * count + j] = quantised(cosine);
    }
  }
  const std::vector<std::int64_t> one_each(count, 1);
  auto matched =
      transport({.items = count, .bins = count, .costs = costs, .capacities = one_each, .prices = {}});
  MOESAIC_CHECK(matched.has_value());
  return std::move(matched->bin_of_item);
}

}  // namespace moesaic::solve
