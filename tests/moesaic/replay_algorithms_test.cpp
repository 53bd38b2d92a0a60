// What every algorithm makes is replayed under every rule, in both modes: results are those of a reference
// that never communicates, and bytes those the evaluator counts.
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "comm/thread_ranks.hpp"
#include "core/clock.hpp"
#include "core/random.hpp"
#include "evaluate/selected_tokens.hpp"
#include "io/memory_files.hpp"
#include "placement/algorithm.hpp"
#include "planning/demands.hpp"
#include "replay/replay.hpp"
#include "trace/trace.hpp"
#include "trace/writer.hpp"
#include "traffic/score.hpp"

namespace moesaic {
namespace {

constexpr std::size_t kLayers = 2, kExperts = 8, kTopK = 3, kRequests = 12, kTokens = 5;
constexpr Topology kTopology{.nodes = 2, .gpus_per_node = 2};

/// Requests of two domains that prefer different halves of the experts.
class World {
 public:
  World() {
    const ModelShape shape{.model = "small",
                           .model_layers = kLayers,
                           .layers = {LayerId{0}, LayerId{1}},
                           .experts = kExperts,
                           .top_k = kTopK};
    auto writer = trace::TokenWriter::open(files_, "/t.zarr", shape, {});
    EXPECT_TRUE(writer);
    Pcg32 random(5);
    for (std::uint32_t r = 0; r < kRequests; ++r) {
      std::vector<ExpertId> experts;
      for (std::size_t row = 0; row < kTokens * kLayers; ++row) {
        std::vector<std::uint16_t> chosen;
        while (chosen.size() < kTopK) {
          const std::uint32_t half = random.below(4) == 0 ? 4 : 0;
          const auto e = static_cast<std::uint16_t>((random.below(4) + half + r % 2 * 4) % kExperts);
          if (std::ranges::find(chosen, e) == chosen.end()) chosen.push_back(e);
        }
        for (const std::uint16_t e : chosen) experts.push_back(ExpertId{e});
      }
      EXPECT_TRUE(writer->add_request(
          {.id = fmt::format("r{}", r), .domain = r % 2 == 0 ? "a" : "b", .decode_tokens = kTokens},
          experts));
    }
    EXPECT_TRUE(writer->finish(kExperts, {}));
    trace_.emplace(trace::Trace::open(files_, "/t.zarr").value());
    std::vector<std::uint32_t> all(kRequests);
    for (std::uint32_t r = 0; r < kRequests; ++r) all[r] = r;
    tokens_.emplace(*trace_, evaluate::TokenChoice{.requests = all, .from = {}, .score_predicted = true});
    for (const std::uint32_t r : tokens_->requests()) homes_.push_back(HomeId(r % kTopology.gpus()));
    segments_ = tokens_->segments(homes_);
    for (const traffic::Segment& segment : segments_) {
      spans_.push_back({.request = segment.request,
                        .home = segment.home,
                        .position = segment.position,
                        .store_token = trace_->requests().start[segment.request] + segment.position,
                        .count = segment.count});
    }
  }

  Result<Placement> place(const placement::Algorithm& algorithm) const {
    ThreadPool pool(1);
    MOESAIC_ASSIGN(std::vector<double> loads, tokens_->loads(pool));
    const planning::TraceDemand demand(*tokens_, homes_, std::move(loads));
    MOESAIC_ASSIGN(
        placement::Solution solution,
        algorithm.place(
            {.demand = demand, .topology = kTopology, .slots_per_gpu = 3, .objective = {}, .pool = &pool}));
    return std::move(solution.placement);
  }

  Result<replay::Report> replay(const Placement& placement, const replay::Options& options) const {
    const artifact::Plan plan{.shape = trace_->shape(), .placement = placement};
    std::vector<std::optional<Result<replay::Report>>> reports(kTopology.gpus());
    comm::run_thread_ranks(kTopology.gpus(), [&](comm::Comm& comm) -> Status {
      const ManualClock clock;
      reports[comm.rank()] = replay::run(plan, *trace_, spans_, options, comm, clock);
      return {};
    });
    return std::move(*reports[0]);
  }

  traffic::LayerTraffic counted(const Placement& placement, std::size_t row, dispatch::Rule rule) const {
    const auto experts = tokens_->read_layer(row).value();
    return traffic::score_layer({placement.layers()[row], kTopK, experts, segments_}, kTopology, kExperts,
                                placement.layer(row), {.rule = rule});
  }

 private:
  io::MemoryFiles files_;
  std::optional<trace::Trace> trace_;
  std::optional<evaluate::SelectedTokens> tokens_;
  std::vector<HomeId> homes_;
  std::vector<traffic::Segment> segments_;
  std::vector<replay::RequestSpan> spans_;
};

TEST(ReplayAlgorithms, EveryPlacementRuleAndModeGivesTheReferencesResultsAndTheEvaluatorsBytes) {
  const World world;
  for (const placement::Algorithm* algorithm : placement::algorithms()) {
    const auto placement = world.place(*algorithm);
    ASSERT_TRUE(placement) << algorithm->name() << ": " << placement.error().message;
    for (const dispatch::Rule rule : dispatch::kRules) {
      for (const replay::Mode mode : {replay::Mode::kDedup, replay::Mode::kPerExpert}) {
        const std::string what =
            fmt::format("{}, {}, {}", algorithm->name(), dispatch::name(rule), replay::name(mode));
        const auto report = world.replay(*placement, {.mode = mode,
                                                      .wire = replay::Wire::kF32,
                                                      .rule = rule,
                                                      .hidden = 8,
                                                      .intermediate = 8,
                                                      .batch_tokens = 4,
                                                      .check_tokens = 1000});
        ASSERT_TRUE(report) << what << ": " << report.error().message;
        EXPECT_EQ(report->checked_tokens, static_cast<std::int64_t>(kLayers * kRequests * kTokens)) << what;
        EXPECT_TRUE(report->within_tolerance()) << what << ": " << report->max_abs_error();
        for (std::size_t row = 0; row < kLayers; ++row) {
          const traffic::LayerTraffic counted = world.counted(*placement, row, rule);
          const traffic::Copies& copies = mode == replay::Mode::kDedup ? counted.dedup : counted.per_expert;
          constexpr std::int64_t kBothWays = 2 * 8 * 4;  // 8 floats there and back
          EXPECT_EQ(report->layers[row].inter_node_bytes(kTopology), kBothWays * copies.node) << what;
          EXPECT_EQ(report->layers[row].intra_node_bytes(kTopology), kBothWays * copies.gpu) << what;
        }
      }
    }
  }
}

}  // namespace
}  // namespace moesaic
