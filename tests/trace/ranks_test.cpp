// A store that several ranks write together is the one that a rank alone writes, byte for byte.
#include <algorithm>
#include <map>

#include "comm/thread_ranks.hpp"
#include "io/faulty_files.hpp"
#include "io/memory_files.hpp"
#include "trace/store_fixture.hpp"
#include "trace/trace.hpp"

namespace moesaic::trace {
namespace {

using namespace moesaic::trace::testing;
using Contents = std::map<std::string, std::string>;

Contents written_alone(const MadeTrace& made) {
  io::MemoryFiles files;
  EXPECT_TRUE(write(files, "t", made));
  return files.contents("t");
}

/// What one rank does: rounds of `round` records a rank, rank by rank, shared after each; the last are fewer.
Status write_share(io::FileSystem& files, const MadeTrace& made, std::size_t round, comm::Comm& comm) {
  WriterOptions options = made.options;
  options.comm = &comm;
  MOESAIC_ASSIGN(TokenWriter writer, TokenWriter::open(files, "t", made.shape, options));
  const auto skip = static_cast<std::size_t>(writer.records_to_skip());
  EXPECT_TRUE(comm.size() == 1 || skip == 0);
  for (std::size_t first = 0; first < made.records.size(); first += round * comm.size()) {
    const std::size_t begin = std::min(first + comm.rank() * round, made.records.size());
    const std::size_t end = std::min(begin + round, made.records.size());
    Status added;
    for (std::size_t r = std::max(begin, skip); r < end && added; ++r) added = add(writer, made.records[r]);
    MOESAIC_TRY(comm::agree(comm, added));
    MOESAIC_TRY(writer.share());
  }
  return writer.finish(made.final_experts, made.provenance);
}

std::vector<Status> write_on(io::FileSystem& files, const MadeTrace& made, std::size_t ranks,
                             std::size_t round = 3) {
  return comm::run_thread_ranks(ranks,
                                [&](comm::Comm& comm) { return write_share(files, made, round, comm); });
}

TEST(Ranks, AStoreOfSeveralIsTheStoreOfOne) {
  for (const std::size_t layers : {1u, 2u, 5u}) {
    for (const bool weights : {false, true}) {
      const MadeTrace made = make_trace(31 + layers, 90, made_shape(layers, 300, 2), weights);
      const Contents expected = written_alone(made);
      for (const std::size_t ranks : {1u, 2u, 3u, 7u}) {  // 7: some have no layer
        io::MemoryFiles files;
        for (const Status& status : write_on(files, made, ranks))
          ASSERT_TRUE(status) << status.error().message;
        ASSERT_EQ(files.contents("t"), expected) << ranks << " ranks, " << layers << " layers";
        ASSERT_FALSE(files.status("t.partial")->exists);
      }
    }
  }
}

TEST(Ranks, TheTypeOfIdsIsSettledByTheEndWhereNothingIsCompressedBefore) {
  MadeTrace made = make_trace(36, 4, made_shape(3, 8, 2));
  made.shape.experts = 65'534;  // as long as nobody knows
  const Contents expected = written_alone(made);
  io::MemoryFiles files;
  for (const Status& status : write_on(files, made, 2, 1)) ASSERT_TRUE(status) << status.error().message;
  EXPECT_EQ(files.contents("t"), expected);
}

TEST(Ranks, WhatSeveralBeganAnyNumberEnds) {
  const MadeTrace made = make_trace(37, 60, made_shape(3, 8, 2));
  const Contents expected = written_alone(made);
  for (const std::size_t before : {1u, 2u, 3u}) {
    for (const std::size_t after : {1u, 2u, 4u}) {
      for (const std::uint64_t bytes : {3'000u, 4'500u, 6'000u}) {
        io::MemoryFiles files;
        io::FaultyFiles small(files, {.disk_bytes = bytes});
        std::vector<Status> statuses = comm::run_thread_ranks(before, [&](comm::Comm& comm) {
          // The root alone runs out of space: FaultyFiles serves one thread.
          return write_share(comm.is_root() ? static_cast<io::FileSystem&>(small) : files, made, 3, comm);
        });
        for (const Status& status : statuses) {
          ASSERT_FALSE(status);
          EXPECT_EQ(status.error().kind, ErrorKind::kEnvironment);
          EXPECT_EQ(status.error().message, statuses[0].error().message);
        }
        ASSERT_FALSE(files.status("t")->exists);
        for (const Status& status : write_on(files, made, after))
          ASSERT_TRUE(status) << status.error().message;
        ASSERT_EQ(files.contents("t"), expected) << before << " then " << after << " ranks";
      }
    }
  }
}

TEST(Ranks, WhicheverOperationOfTheRootFailsAllSayTheSameAndARerunEndsWithTheSameBytes) {
  const MadeTrace made = make_trace(38, 40, made_shape(2, 8, 2));
  const Contents expected = written_alone(made);
  std::uint64_t operation = 0;
  for (bool done = false; !done; ++operation) {
    io::MemoryFiles files;
    io::FaultyFiles faulty(files, {.fail_operation = operation, .crash = true});
    const std::vector<Status> statuses = comm::run_thread_ranks(2, [&](comm::Comm& comm) {
      return write_share(comm.is_root() ? static_cast<io::FileSystem&>(faulty) : files, made, 3, comm);
    });
    done = !faulty.failed();
    ASSERT_EQ(statuses[0].has_value(), statuses[1].has_value());
    if (!statuses[0]) {
      ASSERT_EQ(statuses[0].error().message, statuses[1].error().message);
    }
    if (!files.status("t")->exists) {
      ASSERT_FALSE(statuses[0]) << operation;
      for (const Status& status : write_on(files, made, 2)) ASSERT_TRUE(status) << status.error().message;
    }
    ASSERT_EQ(files.contents("t"), expected) << operation;
  }
  EXPECT_GT(operation, 20u);
}

TEST(Ranks, ABadIdOnOneIsEverybodysError) {
  MadeTrace made = make_trace(39, 30, made_shape(2, 8, 2));
  std::size_t bad = 5;  // of rank 1 in rounds of three
  while (made.records[bad].experts.empty()) ++bad;
  ASSERT_LT(bad, 6u);
  made.records[bad].experts[0] = ExpertId{8};
  io::MemoryFiles files;
  for (const Status& status : write_on(files, made, 2)) {
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().kind, ErrorKind::kBadInput);
    EXPECT_NE(status.error().message.find("rank 1: "), std::string::npos) << status.error().message;
    EXPECT_NE(status.error().message.find("expert 8"), std::string::npos) << status.error().message;
  }
}

TEST(Ranks, AnExistingStoreIsRefusedOnceForAll) {
  const MadeTrace made = make_trace(40, 4, made_shape(1, 4, 1));
  io::MemoryFiles files;
  ASSERT_TRUE(write(files, "t", made));
  for (const Status& status : write_on(files, made, 3)) {
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().message, "rank 0: t: exists; give --force to replace it");
  }
}

TEST(Ranks, ASourceThatChangedIsAnError) {
  MadeTrace made = make_trace(41, 60, made_shape(2, 8, 2));
  io::MemoryFiles files;
  io::FaultyFiles small(files, {.disk_bytes = 5'000});
  ASSERT_FALSE(write(small, "t", made));
  // The first request gets a token more.
  std::size_t first = 0;
  while (made.records[first].anonymous > 0) ++first;
  ++made.records[first].request.decode_tokens;
  made.records[first].experts.insert(made.records[first].experts.end(), 4, ExpertId{0});
  for (const Status& status : write_on(files, made, 2)) {
    ASSERT_FALSE(status);
    EXPECT_NE(status.error().message.find("the source has changed"), std::string::npos)
        << status.error().message;
  }
}

TEST(Ranks, ARankThatDiesLeavesNoStore) {
  const MadeTrace made = make_trace(42, 60, made_shape(2, 8, 2));
  io::MemoryFiles files;
  comm::run_thread_ranks(3, [&](comm::Comm& comm) -> Status {
    if (comm.rank() < 2) return write_share(files, made, 3, comm);
    WriterOptions options = made.options;
    options.comm = &comm;
    MOESAIC_TRY(TokenWriter::open(files, "t", made.shape, options));
    return {};  // gone before the first share()
  });
  EXPECT_FALSE(files.status("t")->exists);
  for (const Status& status : write_on(files, made, 2)) ASSERT_TRUE(status) << status.error().message;
  EXPECT_EQ(files.contents("t"), written_alone(made));
}

}  // namespace
}  // namespace moesaic::trace
