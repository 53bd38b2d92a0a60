#include "simulate/micro_batch_study.hpp"

#include <bit>

#include "core/random.hpp"
#include "recordings.hpp"
#include "simulate/bit_rows.hpp"
#include "simulate/learning.hpp"

namespace moesaic::simulate {
namespace {

/// Four domains with their own experts, requests of each in turn.
const Recording& domains() {
  static const Recording made =
      recording_of(std::vector<std::uint32_t>(60, 40), 3, 32, 2, /*domains=*/4, /*seed=*/3);
  return made;
}

Foretellers foretellers_of(const Recording& recording) {
  ThreadPool pool(1);
  return fit_foretellers(recording, recording, 0, pool);
}

StudyOptions options(std::size_t requests, std::size_t pool) {
  return {.batch = {.requests = requests, .pool = pool, .max_wait = 12}, .steps = 8, .batches = 120};
}

RC_GTEST_PROP(BitRows, CountsAreThoseOfTheWords, ()) {
  const auto words = *rc::gen::container<std::vector<std::uint64_t>>(rc::gen::arbitrary<std::uint64_t>());
  Pcg32 random(words.size());
  std::vector<std::uint64_t> any;
  for (std::size_t i = 0; i < words.size(); ++i)
    any.push_back(std::uint64_t{random.next()} << random.below(33));
  std::int64_t set = 0, added = 0, both = 0;
  for (std::size_t i = 0; i < words.size(); ++i) {
    set += std::popcount(words[i]);
    added += std::popcount(words[i] & ~any[i]);
    both += std::popcount(words[i] | any[i]);
  }
  RC_ASSERT(count_bits(words.data(), words.size()) == set);
  RC_ASSERT(count_added(words.data(), any.data(), words.size()) == added);
  add_bits(any.data(), words.data(), words.size());
  RC_ASSERT(count_bits(any.data(), any.size()) == both);
}

TEST(MicroBatchStudy, LikeRequestsTogetherReadFewerExperts) {
  const Foretellers foretellers = foretellers_of(domains());
  const auto of = [&](Picker picker) {
    return run_study(domains(), foretellers, nullptr, options(6, 40), picker, 1);
  };
  const StudyFigures fifo = of(Picker::kFifo), expected = of(Picker::kExpected), oracle = of(Picker::kOracle);
  EXPECT_LT(expected.experts_per_step, 0.75 * fifo.experts_per_step);
  EXPECT_LT(of(Picker::kObserved).experts_per_step, 0.75 * fifo.experts_per_step);
  EXPECT_LT(oracle.experts_per_step, expected.experts_per_step);
  EXPECT_EQ(fifo.longest_wait, 6);  // 34 others in flight, six a batch
  EXPECT_LE(expected.longest_wait, 12);
  EXPECT_LE(oracle.longest_wait, 12);
  EXPECT_NEAR(fifo.requests_per_step, 6, 0.6);
}

TEST(MicroBatchStudy, ABatchOfThePoolLeavesNothingToPick) {
  const Foretellers foretellers = foretellers_of(domains());
  StudyOptions whole = options(5, 5);
  whole.steps = 1;
  const StudyFigures fifo = run_study(domains(), foretellers, nullptr, whole, Picker::kFifo, 1);
  EXPECT_EQ(fifo.requests_per_step, 5);
  EXPECT_EQ(fifo.longest_wait, 0);
  for (const Picker picker : {Picker::kExpected, Picker::kObserved, Picker::kOracle}) {
    const StudyFigures figures = run_study(domains(), foretellers, nullptr, whole, picker, 1);
    EXPECT_EQ(figures.experts_per_step, fifo.experts_per_step) << name(picker);
  }
}

TEST(MicroBatchStudy, AStepReadsTheExpertsOfItsOwnTokens) {
  // One request in flight, one token in two: its rows are what is read.
  const Recording recording = recording_of({4, 4}, 2, 16, 2);
  StudyOptions one{.batch = {.requests = 1, .pool = 1}, .steps = 1, .batches = 400};
  const StudyFigures figures =
      run_study(recording, {{signature::uniform_predictor(recording.shape)}}, nullptr, one, Picker::kFifo, 2);
  const double mean = static_cast<double>(count_bits(recording.bits.data(), recording.bits.size())) / 8;
  EXPECT_NEAR(figures.experts_per_step, mean, 0.05);
  EXPECT_EQ(figures.requests_per_step, 1);
}

TEST(MicroBatchStudy, HomesDrawTheRequestsThatSendTheFewestCopies) {
  // Experts of domains 0 and 1 on the first node, of 2 and 3 on the second.
  const Recording& recording = domains();
  std::vector<ExpertId> slots;
  for (std::size_t i = 0; i < 3 * 32; ++i) slots.push_back(ExpertId(i % 32));
  const Placement placement = Placement::make({2, 1}, recording.shape.layers, 32, 16, slots).value();
  const grouping::ExpectedCopies copies(placement, Attention::kDataParallel, dispatch::Rule::kLocal,
                                        grouping::CopyMode::kDedup);
  const Foretellers foretellers = foretellers_of(recording);
  StudyOptions priced = options(4, 40), unpriced = priced;
  priced.batch.copy_price = 10;
  const StudyFigures fifo = run_study(recording, foretellers, &copies, unpriced, Picker::kFifo, 1);
  const StudyFigures blind = run_study(recording, foretellers, &copies, unpriced, Picker::kExpected, 1);
  const StudyFigures homes = run_study(recording, foretellers, &copies, priced, Picker::kExpected, 1);
  EXPECT_NEAR(fifo.node_copies_per_token, 1.5, 0.2);  // three layers, every second token is away
  EXPECT_GT(blind.node_copies_per_token, 1.2);
  EXPECT_LT(homes.node_copies_per_token, 0.6 * blind.node_copies_per_token);
  EXPECT_LT(homes.experts_per_step, fifo.experts_per_step);
}

TEST(MicroBatchStudy, OneAndTwoThreadsGiveTheSameBytes) {
  const Foretellers foretellers = foretellers_of(domains());
  std::vector<StudyOptions> all{options(4, 20), options(8, 40)};
  for (StudyOptions& one : all) one.batches = 20;
  ThreadPool one(1), two(2);
  const auto first = run_studies(domains(), foretellers, nullptr, all, 3, 7, one);
  const auto second = run_studies(domains(), foretellers, nullptr, all, 3, 7, two);
  ASSERT_TRUE(first && second);
  EXPECT_EQ(Json(to_json(*first, false)).dump(), Json(to_json(*second, false)).dump());
  EXPECT_EQ(first->at(0).change(Picker::kFifo, &StudyFigures::experts_per_step).mean, 0);
}

TEST(MicroBatchStudy, PoolsThatDoNotFitAreRefused) {
  const Foretellers foretellers = foretellers_of(domains());
  ThreadPool pool(1);
  const auto refused = [&](std::size_t requests, std::size_t in_flight) {
    const auto result =
        run_studies(domains(), foretellers, nullptr, {options(requests, in_flight)}, 1, 0, pool);
    return result ? std::string() : result.error().message;
  };
  EXPECT_EQ(refused(9, 8), "A pool of 8 requests is smaller than a batch of 9; give a larger pool.");
  EXPECT_EQ(refused(8, 60),
            "A pool of 60 requests in flight needs more recorded ones than the 60 that are served; give a "
            "smaller pool or a longer trace.");
  EXPECT_EQ(refused(8, 59), "");
}

}  // namespace
}  // namespace moesaic::simulate
