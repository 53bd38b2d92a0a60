// How long does it take to pick a micro-batch of 12 out of 128 waiting requests at 24 layers x 128 experts?
// The peer is the same greed by definition: the union of every candidate computed anew.
#include <chrono>
#include <cmath>
#include <cstdio>
#include <limits>
#include <vector>

#include "core/check.hpp"
#include "core/random.hpp"
#include "grouping/micro_batches.hpp"

namespace {

using namespace moesaic;

constexpr std::size_t kCells = 24 * 128, kPool = 128, kBatch = 12;

/// Sum of 1 - prod(1 - p) over the batch and the candidate, for every candidate and pick.
std::vector<std::uint32_t> by_definition(const std::vector<float>& probabilities) {
  std::vector<std::uint32_t> batch{0};
  std::vector<bool> taken(kPool);
  taken[0] = true;
  while (batch.size() < kBatch) {
    std::uint32_t best = 0;
    double least = std::numeric_limits<double>::infinity();
    for (std::uint32_t r = 0; r < kPool; ++r) {
      if (taken[r]) continue;
      double size = 0;
      for (std::size_t cell = 0; cell < kCells; ++cell) {
        double idle = 1 - static_cast<double>(probabilities[r * kCells + cell]);
        for (const std::uint32_t other : batch) {
          idle *= 1 - static_cast<double>(probabilities[other * kCells + cell]);
        }
        size += 1 - idle;
      }
      if (size < least) least = size, best = r;
    }
    taken[best] = true;
    batch.push_back(best);
  }
  return batch;
}

template <class Work>
double microseconds(int rounds, Work work) {
  double best = std::numeric_limits<double>::infinity();
  for (int round = 0; round < rounds; ++round) {
    const auto begin = std::chrono::steady_clock::now();
    work();
    const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - begin;
    best = std::min(best, took.count());
  }
  return best;
}

}  // namespace

int main() {
  Pcg32 random(1);
  std::vector<float> probabilities(kPool * kCells);
  for (float& p : probabilities) p = static_cast<float>(0.1 * random.uniform() * random.uniform());
  const grouping::MicroBatchOptions options{.requests = kBatch, .pool = kPool, .max_wait = 1000};
  std::vector<std::uint32_t> batch;
  const auto pick = [&] {
    grouping::MicroBatcher batcher(kCells, options);
    for (std::uint32_t r = 0; r < kPool; ++r) {
      batcher.add({.id = r, .probabilities = std::span(probabilities).subspan(r * kCells, kCells)});
    }
    batch = batcher.next();
  };
  pick();
  MOESAIC_CHECK(batch == by_definition(probabilities));
  const double ours = microseconds(20, pick);
  const double plain = microseconds(2, [&] { by_definition(probabilities); });
  std::printf("12 of 128 requests, 3072 cells: %.0f us a batch; by definition %.0f us, %.1f x\n", ours, plain,
              plain / ours);
}
