// Where the shared traces and golden files are. They are not part of the project: a test that wants them
// skips, and says so, when they are missing.
#pragma once

#include <string>

namespace moesaic::testing {

/// $MOESAIC_SHARED, else "../shared" beside the source tree.
std::string shared_root();
/// shared_root()/data/<path>.
std::string shared_data(const std::string& path);
bool has_shared_data(const std::string& path);

}  // namespace moesaic::testing

#define MOESAIC_NEEDS_SHARED(path)                                         \
  if (!::moesaic::testing::has_shared_data(path)) {                        \
    GTEST_SKIP() << "needs " << ::moesaic::testing::shared_data(path)      \
                 << "; set MOESAIC_SHARED to the folder that holds data/"; \
  }
