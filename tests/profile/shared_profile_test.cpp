// A profile that several ranks make is the one that one rank makes.
#include <fmt/format.h>

#include <vector>

#include "comm/thread_ranks.hpp"
#include "core/random.hpp"
#include "io/memory_files.hpp"
#include "profile/profile.hpp"
#include "trace/writer.hpp"

namespace moesaic::profile {
namespace {

/// 96 requests of three domains, prefill and decode; 5 layers, 12 experts, k = 3, some choices missing.
void write_trace(io::FileSystem& files) {
  const ModelShape shape{.model = "small",
                         .model_layers = 5,
                         .layers = {LayerId{0}, LayerId{1}, LayerId{2}, LayerId{3}, LayerId{4}},
                         .experts = 12,
                         .top_k = 3};
  Pcg32 random(11);
  auto writer = trace::TokenWriter::open(files, "/t.zarr", shape, {});
  ASSERT_TRUE(writer);
  for (std::uint32_t r = 0; r < 96; ++r) {
    const std::uint32_t prefill = 1 + random.below(6), decode = 8 + random.below(30);
    std::vector<ExpertId> experts;
    for (std::uint32_t i = 0; i < (prefill + decode) * 5; ++i) {
      const std::uint32_t base = r % 3 * 4 + (random.below(3) == 0 ? random.below(8) : 0);
      for (std::uint32_t j = 0; j < 3; ++j) {
        const bool missing = random.below(50) == 0;
        experts.push_back(missing ? kMissingExpert : ExpertId{static_cast<std::uint16_t>((base + j) % 12)});
      }
    }
    ASSERT_TRUE(writer->add_request({.id = fmt::format("r{}", r),
                                     .domain = fmt::format("d{}", r % 3),
                                     .prefill_tokens = prefill,
                                     .decode_tokens = decode},
                                    experts));
  }
  ASSERT_TRUE(writer->finish(12, {}));
}

Result<std::string> profiled(io::FileSystem& files, comm::Comm& comm) {
  MOESAIC_ASSIGN(const trace::Trace trace, trace::Trace::open(files, "/t.zarr"));
  ThreadPool pool(1);
  MOESAIC_ASSIGN(const Profile profile, profile_trace(trace, {.batches = {4, 16}, .steps = 20}, pool, comm));
  return to_json(profile).dump(1);
}

TEST(SharedProfile, RanksThatShareTheLayersMakeTheProfileOfOne) {
  io::MemoryFiles files;
  write_trace(files);
  const auto alone = profiled(files, comm::one_rank());
  ASSERT_TRUE(alone) << alone.error().message;
  for (const std::size_t ranks : {2, 3, 7}) {
    std::vector<std::string> made(ranks);
    const auto statuses = comm::run_thread_ranks(ranks, [&](comm::Comm& comm) -> Status {
      MOESAIC_ASSIGN(made[comm.rank()], profiled(files, comm));
      return {};
    });
    for (std::size_t r = 0; r < ranks; ++r) {
      ASSERT_TRUE(statuses[r]) << statuses[r].error().message;
      EXPECT_EQ(made[r], *alone) << "rank " << r << " of " << ranks;
    }
  }
}

TEST(SharedProfile, ADamagedLayerEndsEveryRankWithOneError) {
  io::MemoryFiles files;
  write_trace(files);
  ASSERT_TRUE(files.remove_all("/t.zarr/experts/c.0.0.0"));
  const auto statuses = comm::run_thread_ranks(3, [&](comm::Comm& comm) -> Status {
    MOESAIC_TRY(profiled(files, comm));
    return {};
  });
  for (const Status& status : statuses) {
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().message, statuses[0].error().message);
    EXPECT_NE(status.error().message.find("c.0.0.0"), std::string::npos) << status.error().message;
  }
}

}  // namespace
}  // namespace moesaic::profile
