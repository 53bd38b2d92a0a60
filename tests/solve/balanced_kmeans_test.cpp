#include "solve/balanced_kmeans.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <numeric>

#include "core/random.hpp"
#include "io/json.hpp"
#include "solve/similarity.hpp"
#include "support/shared_data.hpp"

namespace moesaic::solve {
namespace {

/// Rows scattered around `clusters` random directions, two thirds zeros.
SparseRows some_rows(std::size_t rows, std::size_t width, std::size_t clusters, std::uint64_t seed) {
  Pcg32 random(seed);
  std::vector<float> centres(clusters * width);
  for (float& c : centres) c = random.below(3) == 0 ? static_cast<float>(random.below(9)) : 0;
  std::vector<float> dense;
  for (std::size_t r = 0; r < rows; ++r) {
    const std::size_t c = random.below(static_cast<std::uint32_t>(clusters));
    for (std::size_t d = 0; d < width; ++d) {
      const std::uint32_t up_to =
          static_cast<std::uint32_t>(centres[c * width + d]) + (random.below(8) == 0 ? 2 : 1);
      dense.push_back(static_cast<float>(random.below(up_to)));
    }
  }
  SparseRows result = sparse_rows(dense, width);
  normalise(result);
  return result;
}

std::vector<std::size_t> sizes_of(const KmeansResult& result, std::size_t clusters) {
  std::vector<std::size_t> sizes(clusters);
  for (const std::uint32_t c : result.cluster_of_item) ++sizes[c];
  return sizes;
}

double exact_objective(const SparseRows& items, const KmeansResult& result) {
  double sum = 0;
  for (std::size_t i = 0; i < items.rows(); ++i) {
    sum += 1 - dot(items.row(i),
                   std::span(result.centroids).subspan(result.cluster_of_item[i] * items.width, items.width));
  }
  return sum;
}

TEST(BalancedKmeans, FindsTwoTightGroupsAndKeepsThemEven) {
  const std::vector<float> dense{1, 0, 0.9F, 0.1F, 0, 1, 0.1F, 0.9F, 0.95F, 0};
  SparseRows items = sparse_rows(dense, 2);
  normalise(items);
  ThreadPool pool(1);
  const auto result = kmeans(items, {.clusters = 2, .seed = 3}, pool);
  ASSERT_TRUE(result);
  const auto& cluster = result->cluster_of_item;
  EXPECT_EQ(cluster[0], cluster[1]);
  EXPECT_EQ(cluster[0], cluster[4]);
  EXPECT_EQ(cluster[2], cluster[3]);
  EXPECT_NE(cluster[0], cluster[2]);
}

TEST(BalancedKmeans, HoldsItsCapacitiesAndReportsTheTrueObjective) {
  const SparseRows items = some_rows(203, 60, 5, 1);
  ThreadPool pool(2);
  for (const std::size_t k : {1u, 2u, 7u, 33u}) {
    KmeansStats stats;
    const auto result = kmeans(items, {.clusters = k, .seed = k}, pool, &stats);
    ASSERT_TRUE(result);
    EXPECT_LE(std::ranges::max(sizes_of(*result, k)), (203 + k - 1) / k);
    EXPECT_NEAR(result->objective, exact_objective(items, *result), 1e-5);
    EXPECT_TRUE(stats.converged);
    EXPECT_TRUE(std::ranges::is_sorted(stats.objectives, [](double a, double b) { return a > b + 1e-5; }));
  }
}

TEST(BalancedKmeans, GivenCapacitiesBindEachCluster) {
  const SparseRows items = some_rows(60, 40, 3, 2);
  ThreadPool pool(1);
  const auto result = kmeans(items, {.clusters = 3, .capacities = {50, 7, 3}}, pool);
  ASSERT_TRUE(result);
  EXPECT_EQ(sizes_of(*result, 3), (std::vector<std::size_t>{50, 7, 3}));
  const auto small = kmeans(items, {.clusters = 3, .capacities = {50, 7, 2}}, pool);
  ASSERT_FALSE(small);
  EXPECT_EQ(small.error().kind, ErrorKind::kNo);
}

TEST(BalancedKmeans, VanillaIsNeverDearerFromTheSameCentroids) {
  const SparseRows items = some_rows(150, 50, 2, 4);
  ThreadPool pool(1);
  KmeansOptions options{.clusters = 6, .max_iterations = 0, .seed = 9};
  const auto balanced = kmeans(items, options, pool);
  options.balanced = false;
  const auto vanilla = kmeans(items, options, pool);
  ASSERT_TRUE(balanced && vanilla);
  EXPECT_LE(vanilla->objective, balanced->objective);
  EXPECT_GT(std::ranges::max(sizes_of(*vanilla, 6)), 25u);
}

TEST(BalancedKmeans, IsTheSameBytesOnOneThreadAndMany) {
  const SparseRows items = some_rows(700, 90, 6, 5);
  ThreadPool one(1), three(3);
  const KmeansOptions options{.clusters = 10, .starts = 2, .seeding_items_per_cluster = 40, .seed = 7};
  const auto a = kmeans(items, options, one);
  const auto b = kmeans(items, options, three);
  ASSERT_TRUE(a && b);
  EXPECT_EQ(a->cluster_of_item, b->cluster_of_item);
  EXPECT_EQ(a->centroids, b->centroids);
  EXPECT_EQ(a->objective, b->objective);
}

TEST(BalancedKmeans, RenamingItemsRenamesTheClustersOfItems) {
  const SparseRows items = some_rows(240, 80, 5, 14);
  std::vector<std::uint32_t> order(items.rows());
  std::iota(order.begin(), order.end(), 0u);
  Pcg32 random(2);
  shuffle(std::span(order), random);
  ThreadPool pool(1);
  KmeansOptions options{.clusters = 6, .max_iterations = 0, .seed = 3};
  const auto start = kmeans(items, options, pool);
  ASSERT_TRUE(start);
  options.initial = start->centroids;
  options.max_iterations = 50;
  const auto plain = kmeans(items, options, pool);
  const auto renamed = kmeans(pick(items, order), options, pool);
  ASSERT_TRUE(plain && renamed);
  for (std::size_t i = 0; i < order.size(); ++i) {
    EXPECT_EQ(renamed->cluster_of_item[i], plain->cluster_of_item[order[i]]);
  }
  EXPECT_NEAR(renamed->objective, plain->objective, 1e-5);
}

TEST(BalancedKmeans, MoreStartsAreNeverWorseAndAWarmStartStays) {
  const SparseRows items = some_rows(300, 50, 8, 6);
  ThreadPool pool(1);
  const auto once = kmeans(items, {.clusters = 8, .starts = 1, .seed = 2}, pool);
  const auto often = kmeans(items, {.clusters = 8, .starts = 5, .seed = 2}, pool);
  ASSERT_TRUE(once && often);
  EXPECT_LE(often->objective, once->objective);
  KmeansStats stats;
  const auto again = kmeans(items, {.clusters = 8, .initial = once->centroids}, pool, &stats);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->cluster_of_item, once->cluster_of_item);
  EXPECT_EQ(stats.objectives.size(), 2u);
}

TEST(BalancedKmeans, RowsOfZerosAndFewerDistinctRowsThanClustersAreFine) {
  SparseRows items = sparse_rows(std::vector<float>{0, 0, 1, 0, 1, 0, 0, 0, 1, 0}, 2);
  ThreadPool pool(1);
  const auto result = kmeans(items, {.clusters = 4}, pool);
  ASSERT_TRUE(result);
  EXPECT_LE(std::ranges::max(sizes_of(*result, 4)), 2u);
}

TEST(Similarities, EqualPlainLoopsForEveryTileWidth) {
  const SparseRows rows = some_rows(150, 200, 4, 8);
  ThreadPool pool(2);
  for (const std::size_t count : {1u, 4u, 5u, 16u, 17u, 33u, 70u}) {
    Pcg32 random(count);
    std::vector<float> vectors(count * rows.width), out(rows.rows() * count);
    for (float& v : vectors) v = static_cast<float>(random.uniform());
    similarities(rows, vectors, count, out, pool);
    for (std::size_t r = 0; r < rows.rows(); ++r) {
      for (std::size_t j = 0; j < count; ++j) {
        EXPECT_NEAR(out[r * count + j],
                    dot(rows.row(r), std::span(vectors).subspan(j * rows.width, rows.width)), 1e-5);
      }
    }
  }
}

TEST(AlignCentroids, UndoesAShuffle) {
  const SparseRows items = some_rows(9, 30, 9, 12);
  std::vector<float> old_centroids(9 * 30);
  for (std::size_t r = 0; r < 9; ++r) {
    const auto row = items.row(r);
    for (std::size_t i = 0; i < row.column.size(); ++i) old_centroids[r * 30 + row.column[i]] = row.value[i];
  }
  std::vector<std::uint32_t> order{4, 2, 7, 0, 8, 1, 3, 6, 5};
  std::vector<float> shuffled;
  for (const std::uint32_t r : order) {
    shuffled.insert(shuffled.end(), old_centroids.begin() + r * 30, old_centroids.begin() + (r + 1) * 30);
  }
  const auto new_of_old = align_centroids(old_centroids, shuffled, 9);
  for (std::size_t i = 0; i < 9; ++i) EXPECT_EQ(order[new_of_old[i]], i);
}

}  // namespace
}  // namespace moesaic::solve
