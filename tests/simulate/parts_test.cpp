// Arrivals, the deck, the prefix cache, recorded arrivals, and what a step activates.
#include <bit>
#include <map>
#include <set>

#include "recordings.hpp"
#include "simulate/prefix_cache.hpp"
#include "simulate/serving_trace.hpp"
#include "simulate/simulation.hpp"
#include "simulate/step_counter.hpp"
#include "support/shared_data.hpp"

namespace moesaic::simulate {
namespace {

using namespace std::chrono_literals;

double measured_rate(const ArrivalOptions& options, double rate) {
  ArrivalProcess process(options, rate, 9);
  Arrival last;
  constexpr int kArrivals = 200'000;
  for (int i = 0; i < kArrivals; ++i) {
    const Arrival next = *process.next();
    EXPECT_GE(next.at, last.at);
    last = next;
  }
  return kArrivals / (static_cast<double>(last.at.count()) / 1e9);
}

TEST(Arrivals, PoissonAndBurstsKeepTheAskedRate) {
  EXPECT_NEAR(measured_rate({}, 50), 50, 0.5);
  EXPECT_NEAR(measured_rate({.kind = ArrivalOptions::Kind::kBursts}, 50), 50, 3);
}

TEST(Arrivals, BurstsAreMoreVariableThanPoisson) {
  const auto dispersion = [](ArrivalOptions::Kind kind) {
    ArrivalProcess process({.kind = kind}, 50, 4);
    std::map<std::int64_t, double> by_second;
    for (int i = 0; i < 50'000; ++i) ++by_second[process.next()->at / 1s];
    double sum = 0, squares = 0;
    for (const auto& [second, count] : by_second) sum += count, squares += count * count;
    const double n = static_cast<double>(by_second.size()), mean = sum / n;
    return (squares / n - mean * mean) / mean;
  };
  EXPECT_NEAR(dispersion(ArrivalOptions::Kind::kPoisson), 1, 0.2);
  EXPECT_GT(dispersion(ArrivalOptions::Kind::kBursts), 5);
}

TEST(Arrivals, AFileIsStretchedToTheAskedRate) {
  auto trace = std::make_shared<ServingTrace>();
  for (int i = 0; i < 101; ++i) trace->at.push_back(i * 1s);
  trace->prompt_tokens.assign(101, 1);
  trace->output_tokens.assign(101, 1);
  ArrivalProcess process({.kind = ArrivalOptions::Kind::kFile, .trace = trace}, 10.1, 0);
  Nanoseconds last{0};
  int count = 0;
  while (const auto arrival = process.next()) last = arrival->at, ++count;
  EXPECT_EQ(count, 101);
  EXPECT_NEAR(static_cast<double>(last.count()), 10e9, 10);
}

TEST(Arrivals, ImpossibleOptionsAreRefused) {
  EXPECT_FALSE(validate({.kind = ArrivalOptions::Kind::kFile}));
  EXPECT_FALSE(validate({.kind = ArrivalOptions::Kind::kBursts, .burst_factor = 0.5}));
  EXPECT_FALSE(validate({.kind = ArrivalOptions::Kind::kBursts, .burst_length = 10s}));
  EXPECT_TRUE(validate({.kind = ArrivalOptions::Kind::kBursts}));
}

TEST(Deck, DrawsEveryIdleRequestOnceAndThenNothing) {
  const Recording recording = recording_of(std::vector<std::uint32_t>(50, 1), 1, 8, 1, 2);
  RequestDeck deck(recording, {}, 1);
  std::set<std::uint32_t> drawn;
  for (int i = 0; i < 50; ++i) EXPECT_TRUE(drawn.insert(*deck.draw(0s)).second);
  EXPECT_FALSE(deck.draw(0s));
  deck.put_back(7);
  EXPECT_EQ(deck.draw(0s), 7u);
}

TEST(Deck, ASkewedMixFavoursItsDomainAndAShiftingOneMovesOn) {
  const Recording recording = recording_of(std::vector<std::uint32_t>(400, 1), 1, 16, 1, 4);
  const auto share = [&](const Mix& mix, Nanoseconds at, std::size_t domain) {
    RequestDeck deck(recording, mix, 2);
    int hits = 0;
    for (int i = 0; i < 2000; ++i) {
      const std::uint32_t drawn = *deck.draw(at);
      hits += recording.requests[drawn].domain == domain;
      deck.put_back(drawn);
    }
    return hits / 2000.0;
  };
  EXPECT_NEAR(share({}, 0s, 2), 0.25, 0.03);
  EXPECT_NEAR(share({.kind = Mix::Kind::kSkewed, .domain = "domain-2"}, 0s, 2), 0.9, 0.03);
  const Mix shifting{.kind = Mix::Kind::kShifting, .period = 10s};
  EXPECT_NEAR(share(shifting, 5s, 0), 0.9, 0.03);
  EXPECT_NEAR(share(shifting, 15s, 1), 0.9, 0.03);
}

TEST(Deck, AMixThatTheRecordingCannotGiveIsRefused) {
  const Recording recording = recording_of({1, 1}, 1, 16, 1, 2);
  const auto status = validate({.kind = Mix::Kind::kSkewed, .domain = "law"}, recording);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message,
            "mix: no request has the domain \"law\"; the trace has domain-0, domain-1");
  EXPECT_FALSE(validate({.share = 1.5}, recording));
  EXPECT_FALSE(validate({.period = 0s}, recording));
}

TEST(PrefixCache, CountsLeadingBlocksAndForgetsTheLeastRecentlyUsed) {
  PrefixCache cache(3);
  const std::vector<std::uint64_t> a = {1, 2, 3}, b = {1, 9}, c = {3};
  EXPECT_EQ(cache.use(a), 0u);
  EXPECT_EQ(cache.use(a), 3u);
  EXPECT_EQ(cache.use(b), 1u);  // 3 leaves: the tail of a prefix leaves before its head
  EXPECT_EQ(cache.use(c), 0u);
  EXPECT_EQ(PrefixCache(0).use(a), 0u);
}

TEST(ServingTraces, ReadBothFormats) {
  const auto azure = parse_azure_csv(
      "TIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 18:15:47.5,4,6\r\n2023-11-16 "
      "18:15:46.25,1,2\r\n",
      "a.csv");
  ASSERT_TRUE(azure) << azure.error().message;
  EXPECT_EQ(azure->at, (std::vector<Nanoseconds>{0s, 1250ms}));
  EXPECT_EQ(azure->prompt_tokens, (std::vector<std::uint32_t>{1, 4}));
  const auto mooncake = parse_mooncake_jsonl(
      "{\"timestamp\":27482,\"input_length\":600,\"output_length\":52,\"hash_ids\":[46,47]}\n"
      "{\"timestamp\":27485,\"input_length\":5,\"output_length\":1,\"hash_ids\":[46]}\n",
      "m.jsonl");
  ASSERT_TRUE(mooncake) << mooncake.error().message;
  EXPECT_EQ(mooncake->at, (std::vector<Nanoseconds>{0ms, 3ms}));
  EXPECT_EQ(mooncake->blocks(0).size(), 2u);
  EXPECT_EQ(mooncake->blocks(1)[0], 46u);
}

TEST(ServingTraces, ErrorsNameTheFileAndTheLine) {
  const std::string header = "TIMESTAMP,ContextTokens,GeneratedTokens\n";
  const auto starts = [](const auto& result, const std::string& text) {
    const std::string message = result ? "no error" : result.error().message;
    EXPECT_TRUE(message.starts_with(text)) << message;
  };
  starts(parse_azure_csv("a,b,c\n", "a.csv"), "a.csv, line 1: found \"a,b,c\", expected the header");
  starts(parse_azure_csv(header, "a.csv"), "a.csv: holds no request");
  starts(parse_azure_csv(header + "2023-13-16 18:15:46,1,2\n", "a.csv"), "a.csv, line 2: found");
  starts(parse_azure_csv(header + "2023-11-16 18:15:46,1\n", "a.csv"), "a.csv, line 2: found");
  starts(parse_azure_csv(header + "2023-11-16 18:15:46,1,-2\n", "a.csv"), "a.csv, line 2: found");
  starts(parse_mooncake_jsonl("{\"timestamp\":1}\n", "m.jsonl"), "m.jsonl, line 1: timestamp");
  starts(parse_mooncake_jsonl(
             "\n{\"timestamp\":1,\"input_length\":5,\"output_length\":1,\"hash_ids\":[-1]}\n", "m.jsonl"),
         "m.jsonl, line 2: hash_ids");
  starts(parse_mooncake_jsonl("{", "m.jsonl"), "m.jsonl, line 1");
  starts(read_serving_trace(io::real_files(), "trace.txt"), "trace.txt: arrivals are read from .csv");
}

TEST(ServingTraces, ReadThePublishedFiles) {
  MOESAIC_NEEDS_SHARED("serving/AzureLLMInferenceTrace_conv.csv.xz");
  const auto azure = read_serving_trace(io::real_files(),
                                        testing::shared_data("serving/AzureLLMInferenceTrace_conv.csv.xz"));
  ASSERT_TRUE(azure) << azure.error().message;
  EXPECT_EQ(azure->size(), 19'366u);
  const auto mooncake =
      read_serving_trace(io::real_files(), testing::shared_data("serving/conversation_trace.jsonl.xz"));
  ASSERT_TRUE(mooncake) << mooncake.error().message;
  EXPECT_EQ(mooncake->size(), 12'031u);
}

RC_GTEST_PROP(StepCounter, CountsTheDistinctExpertsOfTheBatch, ()) {
  const std::size_t layers = *rc::gen::inRange<std::size_t>(1, 5);
  const std::size_t experts = *rc::gen::element<std::size_t>(4, 33, 64, 128);
  const Recording recording = recording_of({30}, layers, experts, 3, 1, *rc::gen::arbitrary<std::uint64_t>());
  StepCounter counter(recording, nullptr);
  std::vector<Running> batch;
  std::set<std::size_t> cells;
  std::int64_t context = 0;
  for (const std::size_t position :
       *rc::gen::container<std::vector<std::size_t>>(rc::gen::inRange<std::size_t>(0, 30))) {
    const std::uint64_t* row = recording.bits.data() + position * recording.words();
    batch.push_back({.row = row, .context = static_cast<std::uint32_t>(position)});
    context += static_cast<std::int64_t>(position);
    for (std::size_t cell = 0; cell < recording.cells(); ++cell) {
      if (row[cell / 64] >> cell % 64 & 1) cells.insert(cell);
    }
  }
  std::int64_t active = -1;
  const cost::StepLoad load = counter.count(batch, active);
  RC_ASSERT(load.experts == static_cast<std::int64_t>(cells.size()));
  RC_ASSERT(active == load.experts);
  RC_ASSERT(load.tokens == static_cast<std::int64_t>(batch.size()));
  RC_ASSERT(load.kv_tokens == context);
}

TEST(StepCounter, WithAPlanTheBusiestGpuOfEachLayerCounts) {
  Recording recording = recording_of({1, 1}, 1, 4, 1);
  recording.bits = {0b0011, 0b0101};  // request 0: experts 0, 1; request 1: experts 0, 2
  const Topology topology{.nodes = 2, .gpus_per_node = 1};
  auto placement = Placement::make(topology, recording.shape.layers, 4, 2,
                                   {ExpertId(0), ExpertId(1), ExpertId(2), ExpertId(3)});
  ASSERT_TRUE(placement) << placement.error().message;
  const DecoderPlan plan{.placement = *placement};
  StepCounter counter(recording, &plan);
  std::vector<Running> batch = {{.row = recording.bits.data(), .context = 7, .home = 0},
                                {.row = recording.bits.data() + 1, .context = 9, .home = 1}};
  std::int64_t active = 0;
  const cost::StepLoad load = counter.count(batch, active);
  EXPECT_EQ(active, 3);
  EXPECT_EQ(load.experts, 2);      // GPU 0 reads experts 0 and 1
  EXPECT_EQ(load.node_copies, 1);  // request 1 is at GPU 1, its expert 0 at GPU 0
  EXPECT_EQ(load.gpu_copies, 0);
  EXPECT_EQ(load.tokens, 1);
  EXPECT_EQ(load.kv_tokens, 9);
}

}  // namespace
}  // namespace moesaic::simulate
