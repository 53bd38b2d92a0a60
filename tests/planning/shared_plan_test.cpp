// A plan made by several ranks is the plan one rank makes, byte for byte.
#include <fmt/format.h>

#include <optional>

#include "artifact/plan.hpp"
#include "comm/thread_ranks.hpp"
#include "core/random.hpp"
#include "io/memory_files.hpp"
#include "planning/plan_maker.hpp"
#include "trace/writer.hpp"

namespace moesaic::planning {
namespace {

/// 40 requests of two kinds that prefer different halves of 8 experts; 5 layers, k = 2.
class Store {
 public:
  Store() {
    const ModelShape shape{.model = "small",
                           .model_layers = 5,
                           .layers = {LayerId{0}, LayerId{1}, LayerId{2}, LayerId{3}, LayerId{4}},
                           .experts = 8,
                           .top_k = 2};
    Pcg32 random(7);
    auto writer = trace::TokenWriter::open(files_, "/t.zarr", shape, {});
    EXPECT_TRUE(writer);
    for (int r = 0; r < 40; ++r) {
      std::vector<ExpertId> experts;
      for (int row = 0; row < 12 * 5; ++row) {
        const auto half = static_cast<std::uint16_t>(random.below(4) == 0 ? 4 - r % 2 * 4 : r % 2 * 4);
        const auto first = static_cast<std::uint16_t>(random.below(4));
        experts.push_back(ExpertId{static_cast<std::uint16_t>(half + first)});
        experts.push_back(ExpertId{static_cast<std::uint16_t>(half + (first + 1 + random.below(3)) % 4)});
      }
      EXPECT_TRUE(writer->add_request(
          {.id = fmt::format("r{}", r), .domain = r % 2 == 0 ? "a" : "b", .decode_tokens = 12}, experts));
    }
    EXPECT_TRUE(writer->finish(8, {}));
  }

  Result<std::string> plan(const PlaceOptions& options) const {
    MOESAIC_ASSIGN(const trace::Trace trace, trace::Trace::open(files_, "/t.zarr"));
    ThreadPool pool(1);
    SplitOptions split_options;
    split_options.topology = {2, 2};
    split_options.from = {.prefill = false, .fraction = 0.5};
    MOESAIC_ASSIGN(const Split split, Split::make(trace, split_options, pool));
    evaluate::ScoreOptions score;
    score.objective = options.objective;
    score.comm = options.comm;
    MOESAIC_ASSIGN(const artifact::Plan plan, make_plan(split, options, score, pool));
    return artifact::to_json(plan);
  }

  io::MemoryFiles& files() const { return files_; }

 private:
  mutable io::MemoryFiles files_;
};

/// Of `options` on 2, 3 and (more than there are layers) 7 ranks.
void expect_the_plan_of_one_rank(const Store& store, const PlaceOptions& options) {
  const auto alone = store.plan(options);
  ASSERT_TRUE(alone) << alone.error().message;
  for (const std::size_t ranks : {2u, 3u, 7u}) {
    std::vector<std::string> made(ranks);
    const auto statuses = comm::run_thread_ranks(ranks, [&](comm::Comm& comm) -> Status {
      PlaceOptions shared = options;
      shared.comm = &comm;
      MOESAIC_ASSIGN(made[comm.rank()], store.plan(shared));
      return {};
    });
    for (std::size_t r = 0; r < ranks; ++r) {
      ASSERT_TRUE(statuses[r]) << statuses[r].error().message;
      EXPECT_EQ(made[r], *alone) << options.algorithm << ", rank " << r << " of " << ranks;
    }
  }
}

TEST(SharedPlan, RanksThatShareTheLayersMakeThePlanOfOne) {
  const Store store;
  for (const placement::Algorithm* algorithm : placement::algorithms()) {
    for (const bool per_expert : {false, true}) {
      PlaceOptions options;
      options.algorithm = algorithm->name();
      options.slots_per_gpu = 3;
      options.seed = 3;
      options.per_expert = per_expert;
      options.max_imbalance = 1.2;
      expect_the_plan_of_one_rank(store, options);
    }
  }
}

// Without replicas and a limit `moesaic` goes over the layers twice, and each time they are dealt anew: what
// the first pass found in a layer must reach the rank that has it in the second.
TEST(SharedPlan, RanksThatShareABudgetOfImbalanceMakeThePlanOfOne) {
  const Store store;
  for (const bool per_expert : {false, true}) {
    PlaceOptions options;
    options.algorithm = "moesaic";
    options.slots_per_gpu = 2;
    options.per_expert = per_expert;
    expect_the_plan_of_one_rank(store, options);
  }
}

}  // namespace
}  // namespace moesaic::planning
