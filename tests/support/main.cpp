#include <gtest/gtest.h>

#include <cstdio>

/// Exit 77, which ctest shows as skipped, when nothing failed and something could not run: gtest says 0
/// there.
int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const int failed = RUN_ALL_TESTS();
  const int skipped = testing::UnitTest::GetInstance()->skipped_test_count();
  if (failed != 0 || skipped == 0) return failed;
  std::printf("%d tests were skipped; exit 77 says so.\n", skipped);
  return 77;
}
