#include "evaluate/step_times.hpp"

#include "io/memory_files.hpp"
#include "trace/trace.hpp"
#include "trace/writer.hpp"

namespace moesaic::evaluate {
namespace {

using namespace std::chrono_literals;

/// Two requests of four decode tokens on 2 nodes x 1 GPU; expert e on GPU e; k = 1.
class StepTimesOfTwoRequests : public ::testing::Test {
 protected:
  void SetUp() override {
    auto writer = trace::TokenWriter::open(files_, "t.zarr", shape_, {.fingerprint = "x"});
    ASSERT_TRUE(writer) << writer.error().message;
    const ExpertId zero{0}, one{1};
    ASSERT_TRUE(writer->add_request({.id = "a", .domain = "", .decode_tokens = 4, .arrival_ns = 0},
                                    std::vector<ExpertId>{zero, one, one, one}));
    ASSERT_TRUE(writer->add_request({.id = "b", .domain = "", .decode_tokens = 4, .arrival_ns = 1},
                                    std::vector<ExpertId>{one, one, one, zero}));
    ASSERT_TRUE(writer->finish(2, {.format = "test", .sources = {}, .anomalies = {}}));
  }

  Result<TimedSteps> time(std::size_t batch, std::size_t threads) {
    MOESAIC_ASSIGN(const trace::Trace trace, trace::Trace::open(files_, "t.zarr"));
    const SelectedTokens tokens(trace, {.requests = {0, 1}});
    const auto placement =
        Placement::make({.nodes = 2, .gpus_per_node = 1}, shape_.layers, 2, 1, {ExpertId(0), ExpertId(1)});
    const Placement* const placements[] = {&*placement};
    ThreadPool pool(threads);
    return time_placements(tokens, {.of_request = {HomeId(0), HomeId(1)}}, placements,
                           {.objective = {},
                            .tokens_per_gpu = batch,
                            .costs = {.node = {100ns, 1},
                                      .gpu = {},
                                      .crosses_nodes = true,
                                      .dispatch_bytes = 10,
                                      .combine_bytes = 20,
                                      .expert_bytes = 50,
                                      .row_flops = 10}},
                           pool);
  }

  io::MemoryFiles files_;
  ModelShape shape_{.model = "m", .model_layers = 1, .layers = {LayerId(0)}, .experts = 2, .top_k = 1};
};

TEST_F(StepTimesOfTwoRequests, AreWhatOneFindsByHand) {
  // Step 0: a's experts 0 1, b's 1 1: one copy, from GPU 0 to 1. Step 1: a's 1 1, b's 1 0: two copies there,
  // one back. Both GPUs read their one expert in both.
  const auto timed = time(2, 1);
  ASSERT_TRUE(timed) << timed.error().message;
  EXPECT_EQ(timed->steps, 2u);
  EXPECT_EQ(timed->tokens, 8u);
  EXPECT_EQ(timed->requests_per_home, 1u);
  const cost::LayerTime want{.dispatch = 110ns + 120ns, .experts = 100ns, .combine = 120ns + 140ns};
  EXPECT_EQ(timed->placements[0].dedup.sum, want);
  EXPECT_EQ(timed->placements[0].per_expert.sum, want);
  EXPECT_EQ(timed->placements[0].dedup.balanced, 105ns + 50ns + 110ns + 115ns + 50ns + 130ns);
}

TEST_F(StepTimesOfTwoRequests, AreTheSameAtAnyThreadCount) {
  const auto one = time(1, 1), three = time(1, 3);
  ASSERT_TRUE(one && three);
  EXPECT_EQ(one->steps, 4u);
  EXPECT_EQ(one->placements[0].dedup.sum, three->placements[0].dedup.sum);
  EXPECT_EQ(one->placements[0].dedup.balanced, three->placements[0].dedup.balanced);
}

TEST_F(StepTimesOfTwoRequests, AStepThatCannotBeFilledIsAnErrorThatSaysHowLargeItCouldBe) {
  const auto timed = time(5, 1);
  ASSERT_FALSE(timed);
  EXPECT_NE(timed.error().message.find("there are 4 scored tokens a GPU; give --batch at most that"),
            std::string::npos)
      << timed.error().message;
}

}  // namespace
}  // namespace moesaic::evaluate
