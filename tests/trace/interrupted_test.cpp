// Whatever fails while a store is written, it is there whole or not at all, and the next run ends with the
// same bytes.
#include <map>

#include "io/faulty_files.hpp"
#include "io/memory_files.hpp"
#include "trace/store_fixture.hpp"
#include "trace/trace.hpp"

namespace moesaic::trace {
namespace {

using namespace moesaic::trace::testing;
using io::FaultyFiles;
using io::MemoryFiles;

using Contents = std::map<std::string, std::string>;

Contents written_in_one_go(const MadeTrace& made) {
  MemoryFiles files;
  EXPECT_TRUE(write(files, "t", made));
  return files.contents("t");
}

TEST(Interrupted, WhicheverOperationFailsTheStoreIsWholeOrAbsentAndARerunEndsWithTheSameBytes) {
  for (const bool weights : {false, true}) {
    const MadeTrace made = make_trace(11, 24, made_shape(2, 8, 2), weights);
    const Contents expected = written_in_one_go(made);
    for (const bool crash : {false, true}) {
      std::uint64_t operation = 0;
      for (bool done = false; !done; ++operation) {
        MemoryFiles files;
        FaultyFiles faulty(files, {.fail_operation = operation, .crash = crash});
        const Status status = write(faulty, "t", made);
        done = !faulty.failed();
        if (files.status("t")->exists) {
          ASSERT_EQ(files.contents("t"), expected) << operation;
        } else {
          ASSERT_FALSE(status) << operation;
          ASSERT_FALSE(Trace::open(files, "t"));
          const Status rerun = write(files, "t", made);
          ASSERT_TRUE(rerun) << operation << ": " << rerun.error().message;
          ASSERT_EQ(files.contents("t"), expected) << operation;
        }
        ASSERT_FALSE(files.status("t.partial")->exists) << operation;
      }
      EXPECT_GT(operation, 40u);
    }
  }
}

TEST(Interrupted, WhileReplacingOneWholeStoreIsAlwaysThere) {
  const MadeTrace old = make_trace(12, 12, made_shape(2, 8, 2));
  MadeTrace made = make_trace(13, 24, made_shape(2, 8, 2));
  made.options.force = true;
  const Contents before = written_in_one_go(old), after = written_in_one_go(made);
  std::uint64_t operation = 0, aside = 0;
  for (bool done = false; !done; ++operation) {
    MemoryFiles files;
    ASSERT_TRUE(write(files, "t", old));
    FaultyFiles faulty(files, {.fail_operation = operation, .crash = true});
    const Status status = write(faulty, "t", made);
    done = !faulty.failed();
    const bool at_its_place = files.status("t")->exists;
    if (at_its_place) {
      const Contents now = files.contents("t");
      ASSERT_TRUE(now == before || now == after) << operation;
    } else {
      ++aside;
      ASSERT_EQ(files.contents("t.replaced"), before) << operation;
      const auto missing = Trace::open(files, "t");
      ASSERT_FALSE(missing);
      EXPECT_NE(missing.error().message.find("t.replaced"), std::string::npos) << missing.error().message;
    }
    ASSERT_TRUE(write(files, "t", made)) << operation;
    ASSERT_EQ(files.contents("t"), after) << operation;
    ASSERT_FALSE(files.status("t.replaced")->exists) << operation;
  }
  EXPECT_EQ(aside, 1u);  // between the two renames
}

TEST(Interrupted, WhenTheSecondRenameFailsTheOldStoreGetsItsNameBack) {
  MadeTrace made = make_trace(14, 8, made_shape(1, 4, 1));
  MemoryFiles files;
  ASSERT_TRUE(write(files, "t", made));
  const Contents before = files.contents("t");
  made.options.force = true;
  std::uint64_t failures = 0;
  for (std::uint64_t operation = 0;; ++operation) {
    FaultyFiles faulty(files, {.fail_operation = operation});
    if (write(faulty, "t", made)) break;
    ++failures;
    ASSERT_EQ(files.contents("t"), before) << operation;
  }
  EXPECT_GT(failures, 20u);
}

TEST(Interrupted, AFullDiskIsAnEnvironmentErrorAndResumesWhenThereIsRoom) {
  const MadeTrace made = make_trace(15, 24, made_shape(2, 8, 2));
  const Contents expected = written_in_one_go(made);
  std::uint64_t full = 0;
  for (std::uint64_t bytes = 0;; bytes += 197) {
    MemoryFiles files;
    FaultyFiles small(files, {.disk_bytes = bytes});
    const Status status = write(small, "t", made);
    if (status) break;
    ++full;
    ASSERT_EQ(status.error().kind, ErrorKind::kEnvironment);
    ASSERT_NE(status.error().message.find("No space left"), std::string::npos) << status.error().message;
    ASSERT_FALSE(files.status("t")->exists);
    ASSERT_TRUE(write(files, "t", made));
    ASSERT_EQ(files.contents("t"), expected) << bytes;
  }
  EXPECT_GT(full, 30u);
}

TEST(Interrupted, AReadOnlyTargetIsRefusedBeforeAnythingIsRead) {
  MemoryFiles files;
  FaultyFiles read_only(files, {.fail_operation = 0, .crash = true});
  const auto writer = TokenWriter::open(read_only, "t", made_shape(1, 4, 1), {.fingerprint = "f"});
  ASSERT_FALSE(writer);
  EXPECT_EQ(writer.error().kind, ErrorKind::kEnvironment);
  EXPECT_FALSE(files.status("t.partial")->exists);
}

/// Adds records until `shards` shards are in the journal, then is gone, as after kill -9.
void begin_import(io::FileSystem& files, const MadeTrace& made, std::uint64_t shards) {
  auto writer = TokenWriter::open(files, "t", made.shape, made.options);
  ASSERT_TRUE(writer);
  for (const MadeRecord& record : made.records) {
    if (writer->tokens() >= shards * made.options.layout.shard_tokens) break;
    ASSERT_TRUE(add(*writer, record));
  }
}

TEST(Interrupted, AResumedImportSkipsTheRecordsOnDisk) {
  const MadeTrace made = make_trace(16, 40, made_shape(2, 8, 2));
  MemoryFiles files;
  begin_import(files, made, 3);
  auto writer = TokenWriter::open(files, "t", made.shape, made.options);
  ASSERT_TRUE(writer);
  const std::uint64_t skip = writer->records_to_skip();
  std::uint64_t tokens = 0;
  for (std::size_t r = 0; r < skip; ++r) tokens += made.records[r].experts.size() / 4;
  EXPECT_EQ(writer->tokens(), tokens);
  EXPECT_LE(tokens, 3 * 64u);
  EXPECT_GT(tokens + made.records[skip].experts.size() / 4, 3 * 64u);
}

TEST(Interrupted, AHalfWrittenJournalLineDoesNotCount) {
  const MadeTrace made = make_trace(17, 40, made_shape(2, 8, 2));
  const Contents expected = written_in_one_go(made);
  MemoryFiles begun;
  begin_import(begun, made, 3);
  const std::string journal = *io::read_file(begun, "t.partial/journal.jsonl", 1u << 20);
  ASSERT_EQ(std::ranges::count(journal, '\n'), 4);
  for (std::size_t keep = 0; keep <= journal.size(); keep += 31) {
    for (const std::string tail : {"", "garbage", "{}\n"}) {
      MemoryFiles files;
      begin_import(files, made, 3);
      ASSERT_TRUE((*files.append_to("t.partial/journal.jsonl", keep))->append(io::as_bytes(tail)));
      const Status status = write(files, "t", made);
      ASSERT_TRUE(status) << status.error().message;
      ASSERT_EQ(files.contents("t"), expected) << keep << tail;
    }
  }
}

TEST(Interrupted, AShardThatIsNotAsTheJournalSaysIsWrittenAgain) {
  const MadeTrace made = make_trace(18, 40, made_shape(2, 8, 2));
  MemoryFiles files;
  begin_import(files, made, 3);
  ASSERT_TRUE(files.append_to("t.partial/experts/c.1.0.0", 10));
  auto writer = TokenWriter::open(files, "t", made.shape, made.options);
  ASSERT_TRUE(writer);
  EXPECT_LE(writer->tokens(), 64u);
  EXPECT_FALSE(files.status("t.partial/experts/c.2.0.0")->exists);
}

TEST(Interrupted, AnotherImportsPartialStoreIsKeptUnlessForced) {
  const MadeTrace made = make_trace(19, 24, made_shape(2, 8, 2));
  MadeTrace other = make_trace(20, 24, made_shape(2, 8, 2));
  MemoryFiles files;
  begin_import(files, made, 1);
  const Contents before = files.contents("t.partial");
  const Status refused = write(files, "t", other);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::kBadInput);
  EXPECT_NE(refused.error().message.find("--force"), std::string::npos) << refused.error().message;
  EXPECT_EQ(files.contents("t.partial"), before);
  other.options.force = true;
  ASSERT_TRUE(write(files, "t", other));
  EXPECT_EQ(files.contents("t"), written_in_one_go(other));
}

TEST(Interrupted, FoldersThatAreNotOursAreNeverTouched) {
  const MadeTrace made = make_trace(21, 4, made_shape(1, 4, 1));
  MadeTrace forced = made;
  forced.options.force = true;
  for (const std::string folder : {"t.partial", "t"}) {
    MemoryFiles files;
    ASSERT_TRUE(files.make_directories(folder));
    ASSERT_TRUE((*files.create(folder + "/thesis.tex"))->append(io::as_bytes("x")));
    EXPECT_FALSE(write(files, "t", made));
    EXPECT_FALSE(write(files, "t", forced));
    EXPECT_TRUE(files.status(folder + "/thesis.tex")->exists);
  }
}

TEST(Interrupted, AnExistingStoreNeedsForce) {
  const MadeTrace made = make_trace(22, 4, made_shape(1, 4, 1));
  MemoryFiles files;
  ASSERT_TRUE(write(files, "t", made));
  const Status again = write(files, "t", made);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().message, "t: exists; give --force to replace it");
}

TEST(Interrupted, ASourceThatBecameShorterIsAnError) {
  MadeTrace made = make_trace(23, 40, made_shape(2, 8, 2));
  MemoryFiles files;
  begin_import(files, made, 3);
  const auto skip = TokenWriter::open(files, "t", made.shape, made.options)->records_to_skip();
  made.records.resize(static_cast<std::size_t>(skip));
  const Status status = write(files, "t", made);
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message.find("the source has changed"), std::string::npos)
      << status.error().message;
}

TEST(Interrupted, AfterAnErrorTheWriterTakesNothingMore) {
  const MadeTrace made = make_trace(24, 40, made_shape(2, 8, 2));
  MemoryFiles files;
  FaultyFiles faulty(files, {.disk_bytes = 1000});
  auto writer = TokenWriter::open(faulty, "t", made.shape, made.options);
  ASSERT_TRUE(writer);
  Status status;
  for (std::size_t r = 0; r < made.records.size() && status; ++r) status = add(*writer, made.records[r]);
  ASSERT_FALSE(status);
  EXPECT_FALSE(add(*writer, made.records[0]));
  EXPECT_FALSE(writer->finish(8, {}));
}

}  // namespace
}  // namespace moesaic::trace
