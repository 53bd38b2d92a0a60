#include "gateway/count_recorder.hpp"

#include "gateway/store_recorder.hpp"
#include "io/faulty_files.hpp"
#include "support/temporary_folder.hpp"
#include "trace/inspect.hpp"
#include "trace/trace.hpp"

namespace moesaic::gateway {
namespace {

using testing::TemporaryFolder;

const ModelShape kShape{"m", 2, {LayerId{0}, LayerId{1}}, 3, 2};
constexpr std::int64_t kNow = 1'800'000'000'000'000'000;

TEST(CountRecorder, ARowARequestUnderItsIdVerifies) {
  const TemporaryFolder folder;
  CountRecorder recorder(io::real_files(), {.folder = folder.path(), .store_requests = 3}, kShape);
  ASSERT_TRUE(recorder.close());
  ASSERT_TRUE(recorder.add("a", kNow, {.counts = {4, 2, 0, 1, 2, 3}, .tokens = 3}));
  ASSERT_TRUE(recorder.add("a", kNow + 1, {.counts = {4, 2, 0, 1, 2, 1}, .tokens = 3}));
  EXPECT_EQ(recorder.requests(), 0u);
  ASSERT_TRUE(recorder.add("b", kNow + 2, {.counts = {0, 0, 0, 0, 0, 0}, .tokens = 1}));
  EXPECT_EQ(recorder.requests(), 3u);
  EXPECT_EQ(recorder.stores(), 1u);
  const auto trace = trace::Trace::open(io::real_files(), folder / "counts-20270115T080000Z-000.zarr");
  ASSERT_TRUE(trace) << trace.error().message;
  ASSERT_TRUE(trace::verify(io::real_files(), *trace));
  EXPECT_EQ(trace->kind(), trace::Kind::kCounts);
  EXPECT_EQ(trace->requests().id, (std::vector<std::string>{"a", "a#2", "b"}));
  EXPECT_EQ(trace->requests().arrival_ns, (std::vector<std::int64_t>{kNow, kNow + 1, kNow + 2}));
  ASSERT_EQ(trace->count_rows().size(), 3u);
  EXPECT_EQ(trace->count_rows()[0].tokens, 3u);
  EXPECT_EQ(trace->count_rows()[1].tokens, 0u) << "its layers count different tokens";
  EXPECT_EQ(trace->count_rows()[1].phase, Phase::kPrefill);
  EXPECT_EQ(trace->count_rows()[2].request, 2u);
  std::vector<double> counts(6);
  ASSERT_TRUE(trace->read_counts(1, counts));
  EXPECT_EQ(counts, (std::vector<double>{4, 2, 0, 1, 2, 1}));
}

TEST(CountRecorder, TheOldestStoreOfEitherKindGoes) {
  const TemporaryFolder folder;
  const RecordOptions options{.folder = folder.path(), .store_requests = 1, .max_bytes = 1};
  CountRecorder counts(io::real_files(), options, kShape);
  StoreRecorder tokens(io::real_files(), options, kShape);
  const KnownExperts known{.prefill_tokens = 1,
                           .decode_tokens = 0,
                           .experts = {ExpertId(0), ExpertId(1), ExpertId(0), ExpertId(2)}};
  ASSERT_TRUE(tokens.add("old", kNow, known));
  ASSERT_TRUE(counts.add("new", kNow + 5'000'000'000, {.counts = {1, 1, 0, 1, 1, 0}, .tokens = 1}));
  EXPECT_EQ(*io::real_files().list(folder.path()),
            std::vector<std::string>{"counts-20270115T080005Z-000.zarr"});
  ASSERT_TRUE(tokens.add("newer", kNow + 7'000'000'000, known));
  EXPECT_EQ(*io::real_files().list(folder.path()),
            std::vector<std::string>{"requests-20270115T080007Z-000.zarr"});
}

TEST(CountRecorder, WhateverOperationFailsRequestsAreInAWholeStoreOrLost) {
  bool failed = false, went_well = false;
  for (const std::uint64_t operation : {0u, 7u, 40u, 75u, 400u}) {
    const TemporaryFolder folder;
    io::FaultyFiles files(io::real_files(), {.fail_operation = operation});
    CountRecorder recorder(files, {.folder = folder.path()}, kShape);
    for (const char* id : {"a", "b"}) {
      ASSERT_TRUE(recorder.add(id, kNow, {.counts = {1, 1, 0, 1, 1, 0}, .tokens = 1}));
    }
    const bool fine = recorder.close().has_value();
    (fine ? went_well : failed) = true;
    EXPECT_EQ(recorder.requests() + recorder.lost(), 2u) << operation;
    std::uint64_t found = 0;
    const auto names = io::real_files().list(folder.path());
    ASSERT_TRUE(names) << names.error().message;
    for (const std::string& name : *names) {
      if (name.ends_with(".zarr"))
        found += trace::Trace::open(io::real_files(), folder / name)->requests().size();
    }
    if (fine) {
      EXPECT_EQ(found, 2u) << operation;
    }
    // A rename that was done and not synced may have given a lost store its name.
    EXPECT_TRUE(found == recorder.requests() || found == 2) << operation;
  }
  EXPECT_TRUE(failed && went_well);
}

}  // namespace
}  // namespace moesaic::gateway
