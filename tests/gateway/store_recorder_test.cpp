#include "gateway/store_recorder.hpp"

#include "io/faulty_files.hpp"
#include "support/temporary_folder.hpp"
#include "trace/inspect.hpp"
#include "trace/trace.hpp"

namespace moesaic::gateway {
namespace {

using testing::TemporaryFolder;

const ModelShape kShape{"m", 2, {LayerId{0}, LayerId{1}}, 4, 2};
constexpr std::int64_t kNow = 1'800'000'000'000'000'000;

KnownExperts request(std::uint32_t prefill, std::uint32_t decode) {
  KnownExperts known{.prefill_tokens = prefill, .decode_tokens = decode, .experts = {}};
  for (std::uint32_t i = 0; i < (prefill + decode) * 2; ++i) {
    known.experts.push_back(ExpertId(i % 3));
    known.experts.push_back(ExpertId(3));
  }
  return known;
}

std::vector<std::string> stores(const TemporaryFolder& folder) {
  return *io::real_files().list(folder.path());
}

std::size_t requests_in(const std::string& path) {
  const auto trace = trace::Trace::open(io::real_files(), path);
  EXPECT_TRUE(trace) << (trace ? "" : trace.error().message);
  if (!trace) return 0;
  const auto verified = trace::verify(io::real_files(), *trace);
  EXPECT_TRUE(verified) << (verified ? "" : verified.error().message);
  return trace->requests().size();
}

TEST(StoreRecorder, ClosesAStoreWhenItIsFullOrToldToAndNeverAnEmptyOne) {
  const TemporaryFolder folder;
  StoreRecorder recorder(io::real_files(), {.folder = folder.path(), .store_requests = 3}, kShape);
  ASSERT_TRUE(recorder.prepare());
  ASSERT_TRUE(recorder.close());
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(recorder.add("r" + std::to_string(i), kNow + i, request(4, 3)));
  EXPECT_EQ(recorder.requests(), 3u);
  ASSERT_TRUE(recorder.close());
  EXPECT_EQ(recorder.requests(), 5u);
  EXPECT_EQ(recorder.stores(), 2u);
  const auto names = stores(folder);
  ASSERT_EQ(names.size(), 2u);
  EXPECT_EQ(names[0], "requests-20270115T080000Z-000.zarr");
  EXPECT_EQ(names[1], "requests-20270115T080000Z-001.zarr");
  EXPECT_EQ(requests_in(folder / names[0]), 3u);
  EXPECT_EQ(requests_in(folder / names[1]), 2u);
}

TEST(StoreRecorder, TheOldestStoresGoWhenAllAreTooLarge) {
  const TemporaryFolder folder;
  StoreRecorder recorder(io::real_files(), {.folder = folder.path(), .store_requests = 1, .max_bytes = 1},
                         kShape);
  ASSERT_TRUE(recorder.prepare());
  ASSERT_TRUE(io::real_files().make_directories(folder / "mine.zarr"));
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(recorder.add("r", kNow + i * 1'000'000'000LL, request(2, 1)));
  EXPECT_EQ(stores(folder), (std::vector<std::string>{"mine.zarr", "requests-20270115T080002Z-000.zarr"}))
      << "the newest stays, and what is not ours is left alone";
}

TEST(StoreRecorder, StartsByRemovingWhatAnEarlierRunLeftHalfWritten) {
  const TemporaryFolder folder;
  ASSERT_TRUE(
      io::real_files().make_directories(folder / "requests-20270115T080000Z-000.zarr.partial/experts"));
  ASSERT_TRUE(io::real_files().make_directories(folder / "other.zarr.partial"));
  StoreRecorder recorder(io::real_files(), {.folder = folder.path()}, kShape);
  ASSERT_TRUE(recorder.prepare());
  EXPECT_EQ(stores(folder), (std::vector<std::string>{"other.zarr.partial"}));
}

TEST(StoreRecorder, WhateverOperationFailsStoresAreWholeOrNotThere) {
  for (std::uint64_t operation = 0; operation < 36; operation += 3) {
    const TemporaryFolder folder;
    io::FaultyFiles files(io::real_files(), {.fail_operation = operation});
    std::uint64_t whole = 0, errors = 0;
    {
      StoreRecorder recorder(files, {.folder = folder / "s", .store_requests = 2}, kShape);
      if (!recorder.prepare()) continue;
      for (int i = 0; i < 2; ++i) {
        errors += recorder.add("r" + std::to_string(i), kNow + i, request(3, 2)) ? 0 : 1;
      }
      errors += recorder.close() ? 0 : 1;
      whole = recorder.requests();
      EXPECT_EQ(recorder.requests() + recorder.lost(), 2u) << operation;
      EXPECT_LE(errors, 1u) << operation;
    }
    std::uint64_t found = 0;
    const auto names = io::real_files().list(folder / "s");
    ASSERT_TRUE(names) << names.error().message;
    for (const std::string& name : *names) {
      if (name.ends_with(".zarr")) found += requests_in(folder / ("s/" + name));
    }
    EXPECT_EQ(found, whole) << operation;
  }
}

}  // namespace
}  // namespace moesaic::gateway
