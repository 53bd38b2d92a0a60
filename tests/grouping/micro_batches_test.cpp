#include "grouping/micro_batches.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "core/random.hpp"

namespace moesaic::grouping {
namespace {

using Batches = std::vector<std::vector<std::uint32_t>>;

std::vector<float> random_probabilities(std::size_t requests, std::size_t cells, std::uint64_t seed) {
  Pcg32 random(seed);
  std::vector<float> out(requests * cells);
  for (float& p : out) p = static_cast<float>(random.uniform() * random.uniform());
  return out;
}

/// sum over cells of 1 - prod(1 - p), in double and by definition.
double union_of(std::span<const float> probabilities, std::size_t cells,
                std::span<const std::uint32_t> batch) {
  double out = 0;
  for (std::size_t cell = 0; cell < cells; ++cell) {
    double idle = 1;
    for (const std::uint32_t r : batch) idle *= 1 - static_cast<double>(probabilities[r * cells + cell]);
    out += 1 - idle;
  }
  return out;
}

double mean_union(std::span<const float> probabilities, std::size_t cells, const Batches& batches) {
  double sum = 0;
  for (const auto& batch : batches) sum += union_of(probabilities, cells, batch);
  return sum / static_cast<double>(batches.size());
}

TEST(ExpectedUnion, AgreesWithItsDefinition) {
  constexpr std::size_t kCells = 100;
  const std::vector<float> p = random_probabilities(3, kCells, 1);
  const auto row = [&](std::size_t r) { return std::span(p).subspan(r * kCells, kCells); };
  ExpectedUnion all(kCells);
  EXPECT_EQ(all.size(), 0);
  all.add(row(0));
  all.add(row(1));
  const std::vector<std::uint32_t> two{0, 1}, three{0, 1, 2};
  EXPECT_NEAR(all.size(), union_of(p, kCells, two), 1e-4);
  EXPECT_NEAR(static_cast<double>(all.added(row(2))), union_of(p, kCells, three) - union_of(p, kCells, two),
              1e-4);
  all.clear();
  EXPECT_EQ(all.size(), 0);
}

TEST(MicroBatches, AlikeRequestsRunTogether) {
  // Two kinds in turn: {0, 1} and {2, 3} of four cells.
  std::vector<float> p;
  for (std::size_t r = 0; r < 8; ++r) {
    const auto of_kind = [&](std::size_t kind) { return r % 2 == kind ? 0.9f : 0.1f; };
    p.insert(p.end(), {of_kind(0), of_kind(0), of_kind(1), of_kind(1)});
  }
  EXPECT_EQ(micro_batches(p, 4, {.requests = 4, .pool = 8}), (Batches{{0, 2, 4, 6}, {1, 3, 5, 7}}));
  // A pool of four has no choice, one of six puts two in front of the others.
  EXPECT_EQ(micro_batches(p, 4, {.requests = 4, .pool = 4}), (Batches{{0, 2, 1, 3}, {4, 6, 5, 7}}));
  EXPECT_EQ(micro_batches(p, 4, {.requests = 2, .pool = 6}), (Batches{{0, 2}, {1, 3}, {4, 6}, {5, 7}}));
  EXPECT_EQ(fifo_micro_batches(5, 2), (Batches{{0, 1}, {2, 3}, {4}}));
}

TEST(MicroBatches, ARequestOfUnknownUsageGoesLastButGoes) {
  const std::vector<float> alike{1, 0};
  MicroBatcher batcher(2, {.requests = 2, .pool = 9, .max_wait = 2});
  batcher.add({.id = 7, .probabilities = alike});
  batcher.add({.id = 8});
  for (std::uint32_t id = 0; id < 6; ++id) batcher.add({.id = id, .probabilities = alike});
  EXPECT_EQ(batcher.next(), (std::vector<std::uint32_t>{7, 0}));
  EXPECT_EQ(batcher.next(), (std::vector<std::uint32_t>{8, 1}));  // it waits longest
  EXPECT_EQ(batcher.waiting(), 4u);
}

TEST(MicroBatches, AHomeTakesTheRequestsThatSendTheFewestCopiesFromThere) {
  const std::vector<float> p{0.5f, 0.5f};
  const std::vector<double> fits_first{1, 5}, fits_second{5, 1}, dear_everywhere{9, 9};
  MicroBatcher batcher(2, {.requests = 2, .pool = 9, .copy_price = 1});
  batcher.add({.id = 0, .probabilities = p, .copies = fits_first});
  batcher.add({.id = 1, .probabilities = p, .copies = fits_second});
  batcher.add({.id = 2, .probabilities = p, .copies = fits_first});
  batcher.add({.id = 3, .probabilities = p, .copies = fits_second});
  batcher.add({.id = 4, .probabilities = p, .copies = dear_everywhere});
  EXPECT_EQ(batcher.next(1), (std::vector<std::uint32_t>{1, 3}));
  EXPECT_EQ(batcher.next(0), (std::vector<std::uint32_t>{0, 2}));
  EXPECT_EQ(batcher.next(0), (std::vector<std::uint32_t>{4}));
  EXPECT_TRUE(batcher.next(0).empty());
}

RC_GTEST_PROP(MicroBatches, EveryRequestIsInOneFullBatchAndNoneWaitsBeyondItsBound, ()) {
  const auto requests = *rc::gen::inRange<std::size_t>(1, 6);
  const auto pool = requests + *rc::gen::inRange<std::size_t>(0, 12);
  const auto max_wait = *rc::gen::inRange<std::size_t>(0, 8);
  const auto stream = *rc::gen::inRange<std::size_t>(0, 60);
  const auto p = random_probabilities(stream, 6, *rc::gen::arbitrary<std::uint64_t>());
  const MicroBatchOptions options{.requests = requests, .pool = pool, .max_wait = max_wait};
  const Batches batches = micro_batches(p, 6, options);
  RC_ASSERT(batches == micro_batches(p, 6, options));

  std::set<std::uint32_t> seen;
  for (std::size_t b = 0; b < batches.size(); ++b) {
    RC_ASSERT(batches[b].size() == requests || b + 1 == batches.size());
    for (const std::uint32_t r : batches[b]) {
      RC_ASSERT(r < stream && seen.insert(r).second);
      // Full batches before it make room for `requests` each: when it joined, and who was ahead.
      const std::size_t joined = r < pool ? 0 : (r - pool) / requests + 1;
      const std::size_t ahead = r - joined * requests;
      RC_ASSERT(b - joined <= std::max(max_wait, ahead / requests));
    }
  }
  RC_ASSERT(seen.size() == stream);
}

RC_GTEST_PROP(MicroBatches, BoundsHoldWhileRequestsComeAtRandom, ()) {
  const auto requests = *rc::gen::inRange<std::size_t>(1, 5);
  const auto max_wait = *rc::gen::inRange<std::size_t>(0, 5);
  const auto p = random_probabilities(8, 5, *rc::gen::arbitrary<std::uint64_t>());
  MicroBatcher batcher(5, {.requests = requests, .pool = 10, .max_wait = max_wait});
  std::map<std::uint32_t, std::pair<std::size_t, std::size_t>> bounds;  // batch joined, most batches to wait
  std::uint32_t next = 0;
  for (std::size_t b = 0; b < 30; ++b) {
    for (int came = *rc::gen::inRange(0, 10); came > 0; --came, ++next) {
      bounds[next] = {b, std::max(max_wait, batcher.waiting() / requests)};
      batcher.add({.id = next, .probabilities = std::span(p).subspan(next % 8 * 5, 5)});
    }
    const std::size_t waiting = batcher.waiting();
    const auto batch = batcher.next();
    RC_ASSERT(batch.size() == std::min(requests, waiting));
    for (const std::uint32_t r : batch) {
      RC_ASSERT(bounds.contains(r));
      RC_ASSERT(b - bounds[r].first <= bounds[r].second);
      bounds.erase(r);
    }
  }
  RC_ASSERT(batcher.waiting() == bounds.size());
}

TEST(MicroBatches, PlantedGroupsAreFoundThroughNoise) {
  // Eight groups, each with its own tenth of 240 cells, at random in the stream.
  constexpr std::size_t kStream = 400, kCells = 240;
  Pcg32 random(5);
  std::vector<float> p(kStream * kCells);
  for (std::size_t r = 0; r < kStream; ++r) {
    const std::size_t group = random.below(8);
    for (std::size_t cell = 0; cell < kCells; ++cell) {
      p[r * kCells + cell] = static_cast<float>((cell / 30 == group ? 0.5 : 0.02) * random.uniform());
    }
  }
  const double fifo = mean_union(p, kCells, fifo_micro_batches(kStream, 8));
  const double ours = mean_union(p, kCells, micro_batches(p, kCells, {.requests = 8, .pool = 64}));
  EXPECT_LT(ours, 0.75 * fifo);
}

}  // namespace
}  // namespace moesaic::grouping
