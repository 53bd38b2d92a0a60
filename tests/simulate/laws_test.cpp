// What must hold of every run, and the queues that theory knows.
#include <algorithm>
#include <map>
#include <numeric>

#include "recordings.hpp"
#include "simulate/simulation.hpp"

namespace moesaic::simulate {
namespace {

using namespace std::chrono_literals;

cost::StepTime step_of(Nanoseconds fixed, Nanoseconds per_token = 0ns, Nanoseconds per_expert = 0ns,
                       Nanoseconds per_kv_token = 0ns) {
  cost::StepTime step;
  step.fixed = fixed;
  step.per_token = per_token;
  step.per_expert = per_expert;
  step.per_kv_token = per_kv_token;
  return step;
}

Cluster small_cluster(std::size_t decoders, std::uint32_t max_running) {
  Cluster cluster;
  cluster.prefill = {.workers = 2, .fixed = 1ms, .per_token = cost::Picoseconds(10'000'000)};
  cluster.transfer = {.latency = 100us, .per_token = cost::Picoseconds(1'000'000)};
  cluster.decode.workers = decoders;
  cluster.decode.max_running = max_running;
  cluster.decode.step = step_of(1ms, 10us, 50us);
  cluster.warm_up = 0s;
  cluster.measure = 1h;
  return cluster;
}

/// `count` arrivals at random times within a second, known lengths aside.
ArrivalOptions finite_arrivals(std::size_t count, std::uint64_t seed) {
  auto trace = std::make_shared<ServingTrace>();
  Pcg32 random(seed);
  for (std::size_t i = 0; i < count; ++i) trace->at.push_back(Nanoseconds(random.below(1'000'000'000)));
  std::ranges::sort(trace->at);
  trace->prompt_tokens.assign(count, 5);
  trace->output_tokens.assign(count, 3);
  ArrivalOptions out;
  out.kind = ArrivalOptions::Kind::kFile;
  out.trace = trace;
  return out;
}

RunResult must_run(const Cluster& cluster, const Recording& recording, const RunOptions& options) {
  auto result = run(cluster, recording, options);
  EXPECT_TRUE(result) << (result ? "" : result.error().message);
  return result ? *result : RunResult{};
}

Nanoseconds mean_stay(const RunResult& result) {
  std::int64_t sum = 0;
  for (const auto& request : result.requests) sum += (request.last_token - request.arrival).count();
  return Nanoseconds(sum / static_cast<std::int64_t>(result.requests.size()));
}

RC_GTEST_PROP(Laws, EveryRequestEndsOnceWorkIsConservedAndLittlesLawIsExact, ()) {
  const auto lengths = *rc::gen::nonEmpty(
      rc::gen::container<std::vector<std::uint32_t>>(rc::gen::inRange<std::uint32_t>(1, 20)));
  const std::size_t count = *rc::gen::inRange<std::size_t>(1, 120);
  const std::uint64_t seed = *rc::gen::inRange<std::uint64_t>(0, 1000);
  const std::string policy = *rc::gen::element<std::string>("random", "round-robin", "jsq", "p2c", "domain");
  Cluster cluster = small_cluster(*rc::gen::inRange<std::size_t>(1, 5), *rc::gen::inRange(0u, 4u));
  cluster.arrivals = finite_arrivals(count, seed);
  if (*rc::gen::arbitrary<bool>()) cluster.decode.kv_capacity = 40;
  const Recording recording = recording_of(lengths);
  const RunResult result = must_run(cluster, recording, {.policy = policy, .rate = 0, .seed = seed});

  RC_ASSERT(result.arrivals == count);
  RC_ASSERT(result.ended == count);
  RC_ASSERT(result.requests.size() == count);
  std::int64_t tokens = 0, stay = 0;
  std::map<std::uint32_t, std::vector<std::pair<Nanoseconds, Nanoseconds>>> runs;
  for (const RequestRecord& request : result.requests) {
    RC_ASSERT(request.tokens == recording.requests[request.recorded].decode_tokens);
    RC_ASSERT(request.arrival <= request.prefill_done);
    RC_ASSERT(request.prefill_done < request.first_token);
    RC_ASSERT(request.first_token <= request.last_token);
    tokens += request.tokens;
    stay += (request.last_token - request.arrival).count();
    runs[request.recorded].emplace_back(request.prefill_done, request.last_token);
  }
  RC_ASSERT(result.step_tokens == tokens);
  RC_ASSERT(std::accumulate(result.decoder_tokens.begin(), result.decoder_tokens.end(), std::int64_t{0}) ==
            tokens);
  RC_ASSERT(result.in_flight_time == stay);  // Little: the integral of N is the sum of the stays
  for (auto& [recorded, stretches] : runs) {
    std::ranges::sort(stretches);
    for (std::size_t i = 1; i < stretches.size(); ++i) {
      RC_ASSERT(stretches[i - 1].second <= stretches[i].first);  // never twice at once
    }
  }
  // What a step costs is what it is said to cost: busy time adds up from the three prices.
  Nanoseconds busy{0};
  for (const Nanoseconds of_one : result.decoder_busy) busy += of_one;
  RC_ASSERT(busy == result.steps * Nanoseconds(1ms) + tokens * Nanoseconds(10us) +
                        result.active_experts * Nanoseconds(50us));
}

RC_GTEST_PROP(Laws, DecodersThatComeAndGoLoseNoRequest, ()) {
  const auto lengths = *rc::gen::nonEmpty(
      rc::gen::container<std::vector<std::uint32_t>>(rc::gen::inRange<std::uint32_t>(1, 60)));
  const std::size_t count = *rc::gen::inRange<std::size_t>(1, 120);
  const std::uint64_t seed = *rc::gen::inRange<std::uint64_t>(0, 1000);
  const std::string policy = *rc::gen::element<std::string>("round-robin", "jsq", "eldr", "marginal");
  const std::uint32_t workers = *rc::gen::inRange(1u, 4u);
  Cluster cluster = small_cluster(workers, *rc::gen::inRange(0u, 4u));
  if (*rc::gen::arbitrary<bool>()) cluster.decode.admission.kind = Admission::Kind::kMicroBatch;
  cluster.decode.admission.max_late = *rc::gen::inRange<std::uint64_t>(0, 20);
  std::vector<bool> up(workers + 2);
  std::fill_n(up.begin(), workers, true);
  Nanoseconds at{0};
  for (const std::uint32_t worker :
       *rc::gen::container<std::vector<std::uint32_t>>(rc::gen::inRange(0u, workers + 2))) {
    if (up[worker] && std::ranges::count(up, true) == 1) continue;
    up[worker] = !up[worker];
    at += std::chrono::milliseconds(*rc::gen::inRange(0, 300));
    cluster.decode.events.push_back({.at = at, .worker = worker, .up = up[worker]});
  }
  RC_ASSERT(validate(cluster.decode).has_value());
  cluster.arrivals = finite_arrivals(count, seed);
  const Recording recording = recording_of(lengths);
  cluster.policies.eldr.space = signature::all_layers(recording.shape, signature::Transform::kCount);
  cluster.policies.eldr.layer_rows = recording.shape.layers.size();
  cluster.policies.eldr.refit_every = 200ms;
  cluster.policies.marginal.predictor = signature::uniform_predictor(recording.shape);
  const RunResult result = must_run(cluster, recording, {.policy = policy, .rate = 0, .seed = seed});

  RC_ASSERT(result.ended == count);
  std::int64_t tokens = 0;
  for (const RequestRecord& request : result.requests) {
    RC_ASSERT(request.tokens == recording.requests[request.recorded].decode_tokens);
    RC_ASSERT(request.prefill_done < request.first_token);
    RC_ASSERT(request.first_token <= request.last_token);
    tokens += request.tokens;
  }
  RC_ASSERT(result.step_tokens == tokens);  // a token is made once, by steps that came to their end
  RC_ASSERT(result.restarted == 0u || !cluster.decode.events.empty());
}

TEST(Laws, ADecoderOfOnePlaceIsAnMD1Queue) {
  Cluster cluster = small_cluster(1, 1);
  cluster.prefill = {.workers = 1};
  cluster.transfer = {};
  cluster.decode.step = step_of(1ms);
  cluster.warm_up = 5s;
  cluster.measure = 200s;
  const Recording recording = recording_of(std::vector<std::uint32_t>(400, 1));
  for (const double load : {0.3, 0.6, 0.8}) {
    const RunResult result = must_run(cluster, recording, {.rate = load * 1000, .seed = 3});
    const double expected = 1 + load / (2 * (1 - load));  // Pollaczek-Khinchine, service of 1 ms
    EXPECT_NEAR(static_cast<double>(mean_stay(result).count()) / 1e6, expected, 0.04 * expected) << load;
  }
}

TEST(Laws, ExponentialLengthsMakeAnMM1Queue) {
  // Quantiles of the exponential distribution with mean 200 steps of 10 us.
  std::vector<std::uint32_t> lengths;
  constexpr int kRequests = 2000;
  for (int i = 0; i < kRequests; ++i) {
    lengths.push_back(1 + static_cast<std::uint32_t>(-200 * std::log1p(-(i + 0.5) / kRequests)));
  }
  Cluster cluster = small_cluster(1, 1);
  cluster.prefill = {.workers = 1};
  cluster.transfer = {};
  cluster.decode.step = step_of(10us);
  cluster.warm_up = 5s;
  cluster.measure = 120s;
  const Recording recording = recording_of(lengths, 1, 4, 1);
  const double service = recording.mean_decode_tokens() * 10e-6, load = 0.6;
  const RunResult result = must_run(cluster, recording, {.rate = load / service, .seed = 5});
  const double expected = service / (1 - load);
  EXPECT_NEAR(static_cast<double>(mean_stay(result).count()) / 1e9, expected, 0.06 * expected);
}

TEST(Laws, TpotGrowsWithLoad) {
  Cluster cluster = small_cluster(4, 16);
  cluster.warm_up = 2s;
  cluster.measure = 10s;
  const Recording recording = recording_of(std::vector<std::uint32_t>(300, 40), 2, 64);
  const double capacity = decode_capacity(cluster, recording);
  double before = 0;
  for (const double share : {0.1, 0.3, 0.5, 0.7, 0.9}) {
    const RunResult result = must_run(cluster, recording, {.rate = share * capacity, .seed = 1});
    double sum = 0;
    for (const auto& request : result.requests) sum += static_cast<double>(request.tpot().count());
    const double mean = sum / static_cast<double>(result.requests.size());
    EXPECT_GT(mean, before) << share;
    before = mean;
  }
}

TEST(Laws, TheSameSeedGivesTheSameRunAndAnotherSeedAnother) {
  Cluster cluster = small_cluster(3, 8);
  cluster.measure = 2s;
  cluster.arrivals.kind = ArrivalOptions::Kind::kBursts;
  const Recording recording = recording_of(std::vector<std::uint32_t>(100, 20), 2, 16, 2, 4);
  const auto text = [&](std::uint64_t seed) {
    std::string out;
    const RunResult result = must_run(cluster, recording, {.policy = "p2c", .rate = 60, .seed = seed});
    for (const auto& r : result.requests) {
      out += std::to_string(r.recorded) + " " + std::to_string(r.decoder) + " " +
             std::to_string(r.last_token.count()) + "\n";
    }
    return out + std::to_string(result.active_experts) + " " + std::to_string(result.events);
  };
  EXPECT_EQ(text(1), text(1));
  EXPECT_NE(text(1), text(2));
}

TEST(Laws, AnOverloadedClusterStillEndsTheRequestsThatCount) {
  Cluster cluster = small_cluster(1, 2);
  cluster.measure = 1s;
  const Recording recording = recording_of(std::vector<std::uint32_t>(10, 20));
  const RunResult result = must_run(cluster, recording, {.rate = 4 * decode_capacity(cluster, recording)});
  EXPECT_GT(result.held, 0u);
  EXPECT_GT(result.end, 2s);
  EXPECT_GT(result.requests.size(), 50u);
}

TEST(Simulation, ARequestTooLargeForTheKvCacheIsAnError) {
  Cluster cluster = small_cluster(1, 2);
  cluster.decode.kv_capacity = 29;
  const auto result = run(cluster, recording_of({20}), {});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message,
            "decode: a request of 10 prompt and 20 output tokens does not fit a KV cache of 29 tokens; give "
            "kv_tokens more");
}

TEST(Simulation, AnUnknownPolicyIsAnErrorThatListsTheKnown) {
  const auto result = run(small_cluster(1, 2), recording_of({20}), {.policy = "luck"});
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().message.find("jsq"), std::string::npos);
}

TEST(Simulation, TimesOfALoneRequestAddUp) {
  Cluster cluster = small_cluster(1, 2);
  cluster.arrivals = finite_arrivals(1, 1);
  cluster.decode.step = step_of(1ms, 0ns, 0ns, 1us);
  const RunResult result = must_run(cluster, recording_of({3}), {.rate = 0});
  ASSERT_EQ(result.requests.size(), 1u);
  const RequestRecord& request = result.requests[0];
  EXPECT_EQ(request.prefill_done - request.arrival, 1ms + 10 * 10us);
  EXPECT_EQ(request.first_token - request.prefill_done, 100us + 10us + 1ms + 10us);
  EXPECT_EQ(request.last_token - request.first_token, 2 * 1ms + 11us + 12us);  // the context grows
  EXPECT_EQ(request.tpot(), 1011500ns);
}

TEST(Simulation, ARequestWhoseDecoderLeavesGoesOnElsewhereWithTheTokensItMade) {
  Cluster cluster = small_cluster(1, 2);
  cluster.arrivals = finite_arrivals(1, 1);
  cluster.decode.step = step_of(100ms);
  const Nanoseconds arrival = cluster.arrivals.trace->at[0];
  // The prefill and the transfer end within 2 ms: the third step is lost.
  cluster.decode.events = {{.at = arrival + 10ms, .worker = 1, .up = true},
                           {.at = arrival + 250ms, .worker = 0, .up = false}};
  const RunResult result = must_run(cluster, recording_of({3}), {.rate = 0});
  ASSERT_EQ(result.requests.size(), 1u);
  const RequestRecord& request = result.requests[0];
  EXPECT_EQ(result.restarted, 1u);
  EXPECT_EQ(request.decoder, 1u);
  const Nanoseconds prefill_and_transfer = 1ms + 10 * 10us + 100us + 10 * 1us;
  EXPECT_EQ(request.first_token - arrival, prefill_and_transfer + 100ms);
  // Two tokens more to prefill and to send, then the step that was lost.
  EXPECT_EQ(request.last_token - arrival, 250ms + prefill_and_transfer + 2 * (10us + 1us) + 100ms);
}

TEST(Simulation, EventsThatCannotBeAreRefused) {
  const auto refused = [](std::vector<FleetEvent> events, const char* part) {
    DecodePool pool{.workers = 2};
    pool.events = std::move(events);
    const Status valid = validate(pool);
    ASSERT_FALSE(valid) << part;
    EXPECT_NE(valid.error().message.find(part), std::string::npos) << valid.error().message;
  };
  refused({{.at = 2s, .worker = 0}, {.at = 1s, .worker = 0, .up = true}}, "comes after a later one");
  refused({{.at = 2s, .worker = 1, .up = true}}, "worker 1 is up already");
  refused({{.at = 2s, .worker = 7}}, "worker 7 is down already");
  refused({{.at = 1s, .worker = 0}, {.at = 2s, .worker = 1}}, "no decode worker is left at 2 s");
}

/// One decoder of two places, requests of two kinds that share no expert: fewer experts a step when those
/// that wait join by kind, and nobody is passed more often than allowed.
TEST(Simulation, AFullDecoderTakesThoseWhoShareItsExperts) {
  Cluster cluster = small_cluster(1, 2);
  cluster.arrivals = finite_arrivals(400, 3);
  const Recording recording = recording_of(std::vector<std::uint32_t>(400, 20), 2, 8, 3, 2);
  cluster.policies.marginal.predictor = signature::uniform_predictor(recording.shape);
  const RunResult fifo = must_run(cluster, recording, {.rate = 0});
  cluster.decode.admission = {.kind = Admission::Kind::kMicroBatch, .pool = 64, .max_late = 0};
  const RunResult bound = must_run(cluster, recording, {.rate = 0});
  cluster.decode.admission.max_late = 40;
  const RunResult picked = must_run(cluster, recording, {.rate = 0});
  EXPECT_EQ(fifo.active_experts, bound.active_experts);  // nobody may be passed: first in, first out
  EXPECT_LT(static_cast<double>(picked.active_experts), 0.97 * static_cast<double>(fifo.active_experts));
  EXPECT_EQ(picked.step_tokens, fifo.step_tokens);
  // Those who wait join in an order of their own: by how many places a request was passed, at most.
  std::vector<std::pair<Nanoseconds, Nanoseconds>> joined;  // when its KV came, its first step
  for (const RequestRecord& r : picked.requests) joined.emplace_back(r.prefill_done, r.first_token);
  std::ranges::sort(joined);
  for (std::size_t i = 0; i < joined.size(); ++i) {
    const auto passed = std::count_if(joined.begin() + static_cast<std::ptrdiff_t>(i) + 1, joined.end(),
                                      [&](const auto& later) { return later.second < joined[i].second; });
    EXPECT_LE(passed, 40) << i;
  }
}

TEST(Simulation, RepeatedPromptsAreTakenFromThePrefixCache) {
  auto trace = std::make_shared<ServingTrace>();
  trace->at = {0ns, 1s, 2s};
  trace->prompt_tokens = {1024, 1024, 600};
  trace->output_tokens = {1, 1, 1};
  trace->block_ids = {1, 2, 1, 2, 1};
  trace->block_end = {2, 4, 5};
  Cluster cluster = small_cluster(1, 4);
  cluster.prefill.workers = 1;
  cluster.prefill.cache_blocks = 8;
  cluster.arrivals = {.kind = ArrivalOptions::Kind::kFile, .trace = trace, .lengths_from_trace = true};
  const RunResult result = must_run(cluster, recording_of({1, 1}), {.rate = 0});
  EXPECT_EQ(result.prompt_tokens, 1024u + 1024 + 600);
  EXPECT_EQ(result.cached_prompt_tokens, 1023u + 512);  // the last token of a prompt is always computed
}

}  // namespace
}  // namespace moesaic::simulate
