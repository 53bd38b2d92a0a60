#include "io/files.hpp"

#include "io/faulty_files.hpp"
#include "support/temporary_folder.hpp"

namespace moesaic::io {
namespace {

using moesaic::testing::TemporaryFolder;

TEST(Files, AtomicWriteRefusesAnExistingFileUnlessForced) {
  const TemporaryFolder folder;
  const std::string path = folder / "x";
  ASSERT_TRUE(write_file_atomically(real_files(), path, "one", false));
  const Status again = write_file_atomically(real_files(), path, "two", false);
  ASSERT_FALSE(again);
  EXPECT_NE(again.error().message.find("--force"), std::string::npos);
  EXPECT_EQ(*read_file(real_files(), path, 10), "one");
  ASSERT_TRUE(write_file_atomically(real_files(), path, "two", true));
  EXPECT_EQ(*read_file(real_files(), path, 10), "two");
}

TEST(Files, AtomicWriteLeavesOldOrNewWhicheverOperationFails) {
  const TemporaryFolder folder;
  const std::string path = folder / "x";
  for (const bool crash : {false, true}) {
    std::uint64_t operation = 0;
    for (bool done = false; !done; ++operation) {
      ASSERT_LT(operation, 20u);
      ASSERT_TRUE(write_file_atomically(real_files(), path, "old", true));
      FaultyFiles files(real_files(), {.fail_operation = operation, .crash = crash});
      const Status status = write_file_atomically(files, path, "new", true);
      done = !files.failed();
      EXPECT_EQ(static_cast<bool>(status), done);
      const std::string now = *read_file(real_files(), path, 10);
      EXPECT_TRUE(now == "old" || now == "new") << now;
    }
    EXPECT_GT(operation, 4u);
  }
}

TEST(Files, AFullDiskIsAnEnvironmentErrorAndLeavesNothing) {
  const TemporaryFolder folder;
  FaultyFiles files(real_files(), {.disk_bytes = 2});
  const Status status = write_file_atomically(files, folder / "x", "new", false);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().kind, ErrorKind::kEnvironment);
  EXPECT_TRUE(real_files().list(folder.path())->empty());
}

TEST(Files, ReadingTooMuchOrTooLittleSaysSo) {
  const TemporaryFolder folder;
  ASSERT_TRUE(write_file_atomically(real_files(), folder / "x", "12345", false));
  EXPECT_FALSE(read_file(real_files(), folder / "x", 4));
  EXPECT_EQ(read_file(real_files(), folder / "none", 4).error().kind, ErrorKind::kBadInput);
  EXPECT_FALSE(read_file(real_files(), folder.path(), 4));
  std::byte out[3];
  const auto file = real_files().open(folder / "x");
  EXPECT_TRUE(read_exactly(**file, "x", 2, out));
  EXPECT_FALSE(read_exactly(**file, "x", 3, out));
}

TEST(Files, PathsAreTakenApartAsPosixDoes) {
  EXPECT_EQ(parent_path("a/b/"), "a");
  EXPECT_EQ(parent_path("b"), ".");
  EXPECT_EQ(parent_path("/b"), "/");
  EXPECT_EQ(base_name("a/b/"), "b");
  EXPECT_EQ(join_path("a", "b"), "a/b");
}

}  // namespace
}  // namespace moesaic::io
