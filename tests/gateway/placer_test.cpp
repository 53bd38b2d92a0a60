#include "gateway/placer.hpp"

#include <gtest/gtest.h>

#include <set>

#include "routing/decode_policies.hpp"
#include "routing/prefill_policies.hpp"

namespace moesaic::gateway {
namespace {

using namespace std::chrono_literals;

routing::Request request(std::uint64_t id) {
  routing::Request out;
  out.id = routing::RequestId{id};
  return out;
}

WorkerSpec worker(std::uint32_t ranks) {
  WorkerSpec spec;
  spec.ranks = ranks;
  return spec;
}

/// One worker of four ranks under join-shortest-queue.
Placer four_ranks() {
  Placer placer(routing::make_jsq(), routing::make_prefill_round_robin(), nullptr);
  placer.worker_up(WorkerKey{0}, worker(4), 0ns);
  return placer;
}

TEST(Placer, AWorkersReportedSumIsNoLoadOfOthersWhereItIsOurs) {
  Placer placer = four_ranks();
  const auto first = placer.choose_decode(request(1), 0ns);
  const auto second = placer.choose_decode(request(2), 0ns);
  ASSERT_TRUE(first && second);
  placer.worker_load(WorkerKey{0}, 2, 1ns);
  placer.finished(routing::RequestId{1}, 2ns);
  placer.finished(routing::RequestId{2}, 2ns);
  std::set<std::uint32_t> ranks;
  for (std::uint64_t id = 3; id < 7; ++id) ranks.insert(placer.choose_decode(request(id), 3ns)->rank);
  EXPECT_EQ(ranks.size(), 4u) << "no rank is thought busier than another";
}

TEST(Placer, WhatOthersSentIsSpreadOverTheRanks) {
  Placer placer = four_ranks();
  placer.worker_up(WorkerKey{1}, worker(1), 0ns);
  placer.worker_load(WorkerKey{0}, 8, 1ns);  // two a rank
  EXPECT_EQ(placer.choose_decode(request(1), 2ns)->worker, WorkerKey{1});
  EXPECT_EQ(placer.choose_decode(request(2), 2ns)->worker, WorkerKey{1});
  std::set<std::uint32_t> ranks;  // all places are alike now: two requests each
  for (std::uint64_t id = 3; id < 8; ++id) {
    const auto choice = placer.choose_decode(request(id), 2ns);
    if (choice->worker == WorkerKey{0}) ranks.insert(choice->rank);
  }
  EXPECT_EQ(ranks.size(), 4u);
}

}  // namespace
}  // namespace moesaic::gateway
