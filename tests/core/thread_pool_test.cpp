#include "core/thread_pool.hpp"

#include <atomic>
#include <vector>

namespace moesaic {
namespace {

TEST(ThreadPool, RunsEveryIndexOnceAtAnyThreadCount) {
  for (const std::size_t threads : {1u, 2u, 5u}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (const std::size_t count : {0u, 1u, 3u, 1000u}) {
      std::vector<std::atomic<int>> seen(count);
      pool.parallel_for(count, [&](std::size_t i) { ++seen[i]; });
      for (const auto& times : seen) EXPECT_EQ(times, 1);
    }
  }
}

TEST(ThreadPool, ReturnsTheErrorOfTheLowestFailingIndex) {
  ThreadPool pool(3);
  const Status status = pool.try_parallel_for(100, [](std::size_t i) -> Status {
    if (i >= 40) return bad_input("item " + std::to_string(i));
    return {};
  });
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message, "item 40");
}

}  // namespace
}  // namespace moesaic
