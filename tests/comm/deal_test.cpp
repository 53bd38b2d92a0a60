#include "comm/deal.hpp"

#include <algorithm>
#include <mutex>

#include "comm/thread_ranks.hpp"
#include "core/thread_pool.hpp"

namespace moesaic::comm {
namespace {

/// How often each number was dealt when ranks take `threads` at a time.
std::vector<int> dealt(std::size_t ranks, std::size_t count, std::size_t threads = 1) {
  std::mutex mutex;
  std::vector<int> times(count);
  for (const Status& status : run_thread_ranks(ranks, [&](Comm& comm) -> Status {
         Deal deal(comm, count);
         std::vector<bool> had(count);
         ThreadPool pool(threads);
         MOESAIC_TRY(pool.try_parallel_for(threads, [&](std::size_t) -> Status {
           while (true) {
             MOESAIC_ASSIGN(const auto number, deal.next());
             if (!number) return {};
             const std::lock_guard lock(mutex);
             ++times[*number];
             had[*number] = true;
           }
         }));
         MOESAIC_TRY(deal.finish());
         EXPECT_EQ(had, deal.mine());
         return {};
       })) {
    EXPECT_TRUE(status) << status.error().message;
  }
  return times;
}

TEST(Deal, GivesEveryNumberToOneRank) {
  for (const std::size_t ranks : {1u, 2u, 3u, 7u}) {
    for (const std::size_t count : {0u, 1u, 2u, 5u, 58u}) {
      EXPECT_EQ(dealt(ranks, count), std::vector<int>(count, 1)) << ranks << " ranks, " << count;
      EXPECT_EQ(dealt(ranks, count, 3), std::vector<int>(count, 1)) << ranks << " ranks, " << count;
    }
  }
}

TEST(Deal, ASlowRankGetsItsTurnsAndNoMore) {
  // Rank 1 does not go on before rank 0 has come to the end of all that it can get.
  constexpr std::size_t kCount = 30;
  std::vector<std::vector<std::size_t>> had(2);
  for (const Status& status : run_thread_ranks(2, [&](Comm& comm) -> Status {
         Deal deal(comm, kCount);
         std::vector<std::size_t>& mine = had[comm.rank()];
         const std::size_t turns = kCount * 2 / 3 / 2;
         for (std::size_t i = 0; comm.rank() == 1 && i < turns; ++i) {
           MOESAIC_ASSIGN(const auto number, deal.next());
           mine.push_back(*number);
         }
         if (comm.rank() == 1) MOESAIC_TRY(comm.barrier());
         while (true) {
           MOESAIC_ASSIGN(const auto number, deal.next());
           if (!number) break;
           mine.push_back(*number);
         }
         if (comm.rank() == 0) MOESAIC_TRY(comm.barrier());
         return deal.finish();
       })) {
    EXPECT_TRUE(status) << status.error().message;
  }
  // What rank 1 had asked for before it stopped is its own: at most one beyond its turns.
  EXPECT_GE(had[1].size(), 10u);
  EXPECT_LE(had[1].size(), 11u);
  EXPECT_EQ(had[0].size() + had[1].size(), kCount);
}

TEST(Deal, ARankThatFailedEndsItForAll) {
  const auto statuses = run_thread_ranks(3, [&](Comm& comm) -> Status {
    Deal deal(comm, 40);
    Status mine;
    while (mine) {
      MOESAIC_ASSIGN(const auto number, deal.next());
      if (!number) break;
      if (comm.rank() == 2) mine = bad_input("no.");
    }
    MOESAIC_TRY(deal.finish());
    return agree(comm, mine);
  });
  for (const Status& status : statuses) {
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().message, "rank 2: no.");
  }
}

}  // namespace
}  // namespace moesaic::comm
