#include "io/npz.hpp"

#include "io/memory_file.hpp"
#include "support/damage.hpp"
#include "support/shared_data.hpp"

namespace moesaic::io {
namespace {

using moesaic::testing::read_bytes;
using moesaic::testing::shared_data;
using moesaic::testing::test_data;

Result<Npz> read(std::string_view bytes) { return read_npz(MemoryFile(as_bytes(bytes)), "x.npz"); }

void expect_error(std::string_view bytes, const std::string& part) {
  const auto npz = read(bytes);
  ASSERT_FALSE(npz) << part;
  EXPECT_NE(npz.error().message.find(part), std::string::npos) << npz.error().message;
}

TEST(Npz, ReadsStoredAndDeflatedMembersInOrder) {
  for (const char* name : {"io/two.npz", "io/two-stored.npz"}) {
    const auto npz = read_npz(real_files(), test_data(name));
    ASSERT_TRUE(npz) << npz.error().message;
    ASSERT_EQ(npz->members().size(), 2u);
    EXPECT_EQ(npz->members()[1].name, "names");
    EXPECT_EQ(to_int64(*npz->find("counts"), "")->at(11), 11);
    EXPECT_EQ(npz->find("other"), nullptr);
  }
}

TEST(Npz, ReadsTheCalibrationFileOfNumpy) {
  MOESAIC_NEEDS_SHARED("formats/eldr-calibration.npz");
  const auto npz = read_npz(real_files(), shared_data("formats/eldr-calibration.npz"));
  ASSERT_TRUE(npz) << npz.error().message;
  EXPECT_EQ(npz->find("prefill_counts")->shape, (std::vector<std::uint64_t>{40, 24, 128}));
  const auto counts = to_int64(*npz->find("prefill_counts"), "");
  std::int64_t total = 0;
  for (const std::int64_t count : *counts) total += count;
  EXPECT_EQ(total, 29616);
}

TEST(Npz, SaysWhatIsWrong) {
  expect_error("", "no .npz");
  expect_error("PK", "cannot unpack");
  expect_error(read_bytes(test_data("io/not-npy.npz")), "readme.txt is no .npy");
  expect_error(read_bytes(test_data("io/twice.npz")), "twice");
  EXPECT_FALSE(read_npz(real_files(), test_data("io/none.npz")));
}

TEST(Npz, EveryCutFileIsAnErrorAndAFlippedBitNeverChangesValues) {
  for (const char* name : {"io/two.npz", "io/two-stored.npz"}) {
    const std::string good = read_bytes(test_data(name));
    moesaic::testing::for_each_truncation(
        good, [&](std::string_view cut, std::size_t n) { EXPECT_FALSE(read(cut)) << name << " at " << n; });
    moesaic::testing::for_each_bit_flip(good, [&](std::string_view bad, std::size_t i) {
      const auto npz = read(bad);
      const Array* counts = npz ? npz->find("counts") : nullptr;
      if (counts != nullptr) {
        EXPECT_EQ(to_int64(*counts, "")->at(11), 11) << name << " at " << i;
      }
    });
  }
}

}  // namespace
}  // namespace moesaic::io
