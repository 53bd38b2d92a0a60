#include <cmath>

#include "io/faulty_files.hpp"
#include "io/memory_files.hpp"
#include "trace/inspect.hpp"
#include "trace/store_fixture.hpp"
#include "trace/trace.hpp"

namespace moesaic::trace {
namespace {

using namespace moesaic::trace::testing;
using io::MemoryFiles;

CountStore make_counts(CountUnit unit, std::size_t rows) {
  CountStore store{.shape = made_shape(3, 300, 2),
                   .unit = unit,
                   .requests = {},
                   .rows = {},
                   .counts = {},
                   .provenance = {}};
  store.requests.domains = {"", "math"};
  store.requests.start = {0, 0};
  store.requests.prefill_tokens = store.requests.decode_tokens = {0, 0};
  store.requests.id = {"a", "b"};
  store.requests.domain = {0, 1};
  Pcg32 random(rows);
  for (std::size_t r = 0; r < rows; ++r) {
    store.rows.push_back({.request = r % 3 == 2 ? kNoRequest : static_cast<std::uint32_t>(r % 2),
                          .window = static_cast<std::uint32_t>(r),
                          .phase = static_cast<Phase>(r % 3),
                          .domain = static_cast<std::uint16_t>(r % 2),
                          .tokens = r * 10});
    for (std::size_t i = 0; i < 900; ++i) {
      const double share = static_cast<double>(static_cast<float>(random.uniform()));
      store.counts.push_back(unit == CountUnit::kTokens ? std::floor(share * 1e6) : share);
    }
  }
  return store;
}

TEST(Counts, GiveBackWhatWasWritten) {
  for (const CountUnit unit : {CountUnit::kTokens, CountUnit::kShare}) {
    for (const std::size_t rows : {0u, 1u, 37u, 100u}) {
      MemoryFiles files;
      const CountStore store = make_counts(unit, rows);
      const Status written = write_count_store(files, "t", store, {.fingerprint = "f"});
      ASSERT_TRUE(written) << written.error().message;
      const auto trace = Trace::open(files, "t");
      ASSERT_TRUE(trace) << trace.error().message;
      EXPECT_EQ(trace->kind(), Kind::kCounts);
      EXPECT_EQ(trace->count_unit(), unit);
      EXPECT_EQ(trace->tokens(), 0u);
      EXPECT_EQ(trace->requests().id, store.requests.id);
      ASSERT_EQ(trace->count_rows().size(), rows);
      std::vector<double> row(900);
      for (std::size_t r = rows; r-- > 0;) {
        ASSERT_TRUE(trace->read_counts(r, row));
        for (std::size_t i = 0; i < 900; ++i) ASSERT_EQ(row[i], store.counts[r * 900 + i]);
        EXPECT_EQ(trace->count_rows()[r].request, store.rows[r].request);
        EXPECT_EQ(trace->count_rows()[r].window, store.rows[r].window);
        EXPECT_EQ(trace->count_rows()[r].phase, store.rows[r].phase);
        EXPECT_EQ(trace->count_rows()[r].domain, store.rows[r].domain);
        EXPECT_EQ(trace->count_rows()[r].tokens, store.rows[r].tokens);
      }
      const auto verified = verify(files, *trace);
      ASSERT_TRUE(verified) << verified.error().message;
      EXPECT_EQ(verified->values, rows * 900);
    }
  }
}

TEST(Counts, ThatCannotBeCountsAreRefused) {
  for (const double bad : {-1.0, 0.5, std::nan(""), HUGE_VAL}) {
    MemoryFiles files;
    CountStore store = make_counts(CountUnit::kTokens, 2);
    store.counts[900 + 301] = bad;
    const Status written = write_count_store(files, "t", store, {.fingerprint = "f"});
    ASSERT_FALSE(written);
    EXPECT_NE(written.error().message.find("row 1, layer 3, expert 1 counts"), std::string::npos)
        << written.error().message;
    EXPECT_FALSE(files.status("t")->exists);
  }
  MemoryFiles files;
  CountStore store = make_counts(CountUnit::kShare, 2);
  store.rows[1].domain = 2;
  EXPECT_FALSE(write_count_store(files, "t", store, {.fingerprint = "f"}));
}

TEST(Counts, AreWholeOrAbsentWhicheverOperationFails) {
  const CountStore store = make_counts(CountUnit::kTokens, 3);
  MemoryFiles good;
  ASSERT_TRUE(write_count_store(good, "t", store, {.fingerprint = "f"}));
  std::uint64_t operation = 0;
  for (bool done = false; !done; ++operation) {
    MemoryFiles files;
    io::FaultyFiles faulty(files, {.fail_operation = operation, .crash = true});
    const Status status = write_count_store(faulty, "t", store, {.fingerprint = "f"});
    done = !faulty.failed();
    if (!files.status("t")->exists) {
      ASSERT_TRUE(write_count_store(files, "t", store, {.fingerprint = "f"})) << operation;
    }
    ASSERT_EQ(files.contents("t"), good.contents("t"));
  }
  EXPECT_GT(operation, 40u);
}

}  // namespace
}  // namespace moesaic::trace
