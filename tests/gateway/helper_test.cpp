#include "gateway/helper.hpp"

#include <vector>

namespace moesaic::gateway {
namespace {

TEST(Helper, WhatWasAddedIsDoneInOrderWhenItIsStopped) {
  Helper helper;
  std::vector<int> done;
  helper.add([&] {
    while (!helper.stopping()) std::this_thread::yield();
  });
  for (int i = 0; i < 5; ++i) helper.add([&done, i] { done.push_back(i); });
  EXPECT_EQ(helper.stop([] { return true; }), 0u);
  EXPECT_EQ(done, (std::vector<int>{0, 1, 2, 3, 4}));
  EXPECT_EQ(helper.stop([] { return true; }), 0u) << "it has stopped";
}

TEST(Helper, WhatMayNotBeginAnyMoreIsDroppedAndCounted) {
  Helper helper;
  std::vector<int> done;
  helper.add([&] {
    while (!helper.stopping()) std::this_thread::yield();
  });
  for (int i = 0; i < 5; ++i) helper.add([&done, i] { done.push_back(i); });
  EXPECT_EQ(helper.stop([&] { return done.size() < 2; }), 3u);
  EXPECT_EQ(done, (std::vector<int>{0, 1}));
}

}  // namespace
}  // namespace moesaic::gateway
