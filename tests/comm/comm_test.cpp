#include "comm/comm.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "comm/parcel.hpp"
#include "comm/thread_ranks.hpp"

namespace moesaic::comm {
namespace {

Bytes bytes_of(const std::string& text) {
  Bytes out(text.size());
  std::transform(text.begin(), text.end(), out.begin(), [](char c) { return static_cast<std::byte>(c); });
  return out;
}

TEST(OneRank, GivesBackWhatItWasGiven) {
  Comm& comm = one_rank();
  EXPECT_EQ(comm.rank(), 0u);
  EXPECT_EQ(comm.size(), 1u);
  EXPECT_TRUE(comm.is_root());
  EXPECT_TRUE(comm.barrier());
  std::vector<std::int64_t> values = {1, -2};
  EXPECT_TRUE(comm.all_sum(values));
  EXPECT_EQ(values, (std::vector<std::int64_t>{1, -2}));
  EXPECT_EQ(comm.all_gather(bytes_of("a")).value(), std::vector<Bytes>{bytes_of("a")});
  Bytes text = bytes_of("kept");
  EXPECT_TRUE(comm.broadcast(text, 0));
  EXPECT_EQ(text, bytes_of("kept"));
  const std::size_t me[] = {0};
  EXPECT_EQ(comm.exchange(me, {bytes_of("x")}).value(), std::vector<Bytes>{bytes_of("x")});
  EXPECT_FALSE(comm.host().empty());
}

TEST(OneRank, AgreesWithItselfInItsOwnWords) {
  EXPECT_TRUE(agree(one_rank(), {}));
  const Status no = agree(one_rank(), answer_no("No."));
  ASSERT_FALSE(no);
  EXPECT_EQ(no.error().kind, ErrorKind::kNo);
  EXPECT_EQ(no.error().message, "No.");
}

TEST(ThreadRanks, WhatIsNotTheSameEverywhereIsSaid) {
  for (const Status& status : run_thread_ranks(3, [](Comm& comm) -> Status {
         MOESAIC_TRY(same_everywhere(comm, "a", "plan"));
         return same_everywhere(comm, comm.rank() == 1 ? "b" : "a", "plan");
       })) {
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().kind, ErrorKind::kEnvironment);
    EXPECT_EQ(status.error().message,
              "rank 1 sees another plan than rank 0; give paths that hold the same on every node");
  }
}

TEST(ThreadRanks, PostedMessagesComeInOrderAndNobodyWaitsForThem) {
  for (const Status& status : run_thread_ranks(3, [](Comm& comm) -> Status {
         if (!comm.is_root()) {
           for (int i = 0; i < 5; ++i) MOESAIC_TRY(comm.post(0, bytes_of(std::to_string(i))));
           MOESAIC_TRY(comm.barrier());
           return {};
         }
         MOESAIC_TRY(comm.barrier());
         std::vector<std::string> said(3);
         while (true) {
           MOESAIC_ASSIGN(const auto posted, comm.take_posted(false));
           if (!posted) break;
           for (const std::byte b : posted->message) said[posted->from] += static_cast<char>(b);
         }
         EXPECT_EQ(said, (std::vector<std::string>{"", "01234", "01234"}));
         return {};
       })) {
    EXPECT_TRUE(status);
  }
}

TEST(ThreadRanks, SumGatherAndBroadcastOverAllRanks) {
  const auto statuses = run_thread_ranks(5, [](Comm& comm) -> Status {
    for (int round = 0; round < 20; ++round) {
      std::vector<std::int64_t> values = {1, static_cast<std::int64_t>(comm.rank())};
      MOESAIC_TRY(comm.all_sum(values));
      if (values != std::vector<std::int64_t>{5, 10}) return bad_input("wrong sum");
      const std::string mine(comm.rank(), 'r');
      MOESAIC_ASSIGN(const auto all, comm.all_gather(bytes_of(mine)));
      for (std::size_t r = 0; r < 5; ++r) {
        if (all[r] != bytes_of(std::string(r, 'r'))) return bad_input("wrong gather");
      }
      Bytes text = bytes_of(comm.rank() == 3 ? "from three" : "overwritten");
      MOESAIC_TRY(comm.broadcast(text, 3));
      if (text != bytes_of("from three")) return bad_input("wrong broadcast");
      MOESAIC_TRY(comm.barrier());
    }
    return {};
  });
  for (const Status& status : statuses) EXPECT_TRUE(status) << status.error().message;
}

TEST(ThreadRanks, AnExchangeConcernsItsPeersAlone) {
  // Ranks 0-1 and 2-3 talk in pairs, as the GPUs of two nodes do.
  const auto statuses = run_thread_ranks(4, [](Comm& comm) -> Status {
    const std::size_t node = comm.rank() / 2 * 2;
    const std::size_t peers[] = {node, node + 1};
    std::vector<Bytes> out;
    for (const std::size_t peer : peers) out.push_back(bytes_of(fmt::format("{}>{}", comm.rank(), peer)));
    MOESAIC_ASSIGN(const auto in, comm.exchange(peers, out));
    for (std::size_t i = 0; i < 2; ++i) {
      if (in[i] != bytes_of(fmt::format("{}>{}", peers[i], comm.rank()))) return bad_input("wrong message");
    }
    return {};
  });
  for (const Status& status : statuses) EXPECT_TRUE(status) << status.error().message;
}

TEST(ThreadRanks, TheLowestFailingRankSpeaksForAll) {
  const auto statuses = run_thread_ranks(4, [](Comm& comm) {
    return agree(comm,
                 comm.rank() >= 2 ? Status(environment_error(fmt::format("E{}.", comm.rank()))) : Status());
  });
  for (const Status& status : statuses) {
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().kind, ErrorKind::kEnvironment);
    EXPECT_EQ(status.error().message, "rank 2: E2.");
  }
}

TEST(ThreadRanks, WhatAllRanksFindNamesNoRank) {
  const auto statuses = run_thread_ranks(3, [](Comm& comm) { return agree(comm, bad_input("Same.")); });
  for (const Status& status : statuses) EXPECT_EQ(status.error().message, "Same.");
}

TEST(ThreadRanks, ARankThatLeavesFailsTheOthersInsteadOfHangingThem) {
  const auto statuses = run_thread_ranks(
      3, [](Comm& comm) { return comm.rank() == 1 ? Status(answer_no("gone")) : comm.barrier(); });
  EXPECT_EQ(statuses[1].error().message, "gone");
  for (const std::size_t r : {0u, 2u}) {
    ASSERT_FALSE(statuses[r]);
    EXPECT_EQ(statuses[r].error().message, "rank 1 has left the job.");
  }
}

TEST(Parcel, GivesBackNumbersAndVectors) {
  Packer out;
  out.put(7);
  out.put_span(std::span<const double>(std::vector<double>{0.5, -1}));
  out.put(std::vector<char>{'a'});
  out.put(std::vector<int>{});
  out.put_span(std::span<const float>());
  const Bytes bytes = out.take();
  Unpacker in(bytes);
  EXPECT_EQ(in.get<int>(), 7);
  EXPECT_EQ(in.get_vector<double>(), (std::vector<double>{0.5, -1}));
  std::vector<char> letters;
  in.get(letters);
  EXPECT_EQ(letters, std::vector<char>{'a'});
  std::vector<int> none = {1};
  in.get(none);
  EXPECT_TRUE(none.empty());
  EXPECT_TRUE(in.get_vector<float>().empty());
  EXPECT_TRUE(in.done());
}

}  // namespace
}  // namespace moesaic::comm
