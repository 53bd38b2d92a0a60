#include "routing/marginal.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <new>
#include <set>

#include "core/random.hpp"

namespace {

/// Allocations of this binary while counting is on (see MarginalAllocates).
std::size_t allocations = 0;
bool counting = false;

void* counted(std::size_t size) {
  if (counting) ++allocations;
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  std::abort();
}

}  // namespace

void* operator new(std::size_t size) { return counted(size); }
void* operator new[](std::size_t size) { return counted(size); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return counted(size); }
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept { return counted(size); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }

namespace moesaic::routing {
namespace {

using namespace std::chrono_literals;

ModelShape shape(std::size_t layers, std::size_t experts, std::size_t top_k) {
  ModelShape out{"m", layers, {}, experts, top_k};
  for (std::size_t layer = 0; layer < layers; ++layer) out.layers.push_back(static_cast<LayerId>(layer));
  return out;
}

MarginalOptions options(const ModelShape& model) {
  return {.step = {.fixed = 1ms,
                   .per_token = cost::Picoseconds(1'000),
                   .per_expert = cost::Picoseconds(1'000'000),
                   .table = {}},
          .predictor = signature::uniform_predictor(model),
          .ahead_share = 1,
          .ahead_requests = 1000,
          .reserve_requests = 64};
}

Request with(std::uint64_t id, const std::vector<float>& probabilities) {
  return {.id = RequestId{id}, .prompt_tokens = 1, .probabilities = probabilities};
}

/// One layer of four experts, surely active or not.
std::vector<float> uses(std::initializer_list<std::size_t> experts, std::size_t cells = 4) {
  std::vector<float> out(cells);
  for (const std::size_t e : experts) out[e] = 0.9f;
  return out;
}

TEST(Marginal, LikeJoinsLike) {
  const auto policy = make_marginal(options(shape(1, 4, 2)));
  policy->worker_up({.id = WorkerId{0}}, 0ns);
  policy->worker_up({.id = WorkerId{1}}, 0ns);
  const auto red = uses({0, 1}), blue = uses({2, 3});
  const WorkerId red_home = *policy->admit(with(1, red), 0ns).worker;
  const WorkerId blue_home = *policy->admit(with(2, blue), 0ns).worker;
  EXPECT_NE(red_home, blue_home);
  for (std::uint64_t id = 3; id < 20; ++id) {
    const Decision decision = policy->admit(with(id, id % 3 == 0 ? red : blue), 0ns);
    EXPECT_EQ(decision.worker, id % 3 == 0 ? red_home : blue_home) << id;
    EXPECT_EQ(decision.reason, Reason::kSignature);
  }
}

TEST(Marginal, CountsOfThePrefillServeAsProbabilities) {
  const auto policy = make_marginal(options(shape(1, 4, 2)));
  policy->worker_up({.id = WorkerId{0}}, 0ns);
  policy->worker_up({.id = WorkerId{1}}, 0ns);
  const std::vector<float> red = {100, 100, 0, 0}, blue = {0, 0, 100, 100};
  const auto admit = [&](std::uint64_t id, const std::vector<float>& counts) {
    return *policy->admit({.id = RequestId{id}, .counts = counts, .counted_tokens = 100}, 0ns).worker;
  };
  const WorkerId red_home = admit(1, red), blue_home = admit(2, blue);
  EXPECT_NE(red_home, blue_home);
  EXPECT_EQ(admit(3, blue), blue_home);
  EXPECT_EQ(admit(4, blue), blue_home);
  EXPECT_EQ(admit(5, red), red_home);
}

TEST(Marginal, AFinishedRequestNoLongerAttracts) {
  MarginalOptions lasting = options(shape(1, 4, 2));
  lasting.persistence = 1;
  const auto policy = make_marginal(lasting);
  policy->worker_up({.id = WorkerId{0}}, 0ns);
  policy->worker_up({.id = WorkerId{1}}, 0ns);
  const auto red = uses({0, 1}), blue = uses({2, 3});
  const WorkerId red_home = *policy->admit(with(1, red), 0ns).worker;
  const WorkerId blue_home = *policy->admit(with(2, blue), 0ns).worker;
  policy->finished(RequestId{1}, 0ns);
  EXPECT_EQ(policy->admit(with(3, red), 0ns).worker, red_home);  // empty now: adds as much, waits for nobody
  policy->finished(RequestId{3}, 0ns);
  EXPECT_EQ(policy->admit(with(4, blue), 0ns).worker, red_home);  // an empty batch is the fastest of all
  policy->finished(RequestId{2}, 0ns);
  EXPECT_EQ(policy->admit(with(5, red), 0ns).worker, blue_home);
}

TEST(Marginal, WithoutUsageLoadDecides) {
  const auto policy = make_marginal(options(shape(1, 4, 2)));
  for (std::uint32_t id = 0; id < 3; ++id) policy->worker_up({.id = WorkerId{id}}, 0ns);
  std::set<WorkerId> used;
  for (std::uint64_t id = 0; id < 3; ++id) {
    const Decision decision = policy->admit({.id = RequestId{id}}, 0ns);
    EXPECT_EQ(decision.reason, Reason::kFallback);
    used.insert(*decision.worker);
  }
  EXPECT_EQ(used.size(), 3u);
  // Usage of another model's size is no usage.
  const std::vector<float> wrong(7, 0.5f);
  EXPECT_EQ(policy->admit(with(9, wrong), 0ns).reason, Reason::kFallback);
  EXPECT_EQ(policy->admit({.id = RequestId{10}, .counts = wrong, .counted_tokens = 3}, 0ns).reason,
            Reason::kFallback);
}

TEST(Marginal, NoDecoderGetsTooFarAhead) {
  MarginalOptions bounded = options(shape(1, 4, 2));
  bounded.ahead_share = 0.5;
  bounded.ahead_requests = 2;
  const auto policy = make_marginal(bounded);
  policy->worker_up({.id = WorkerId{0}}, 0ns);
  policy->worker_up({.id = WorkerId{1}}, 0ns);
  std::vector<int> count(2);
  const auto red = uses({0, 1});
  for (std::uint64_t id = 0; id < 100; ++id) {
    ++count[static_cast<std::size_t>(*policy->admit(with(id, red), 0ns).worker)];
    const int least = std::min(count[0], count[1]), most = std::max(count[0], count[1]);
    EXPECT_LE(most, least + 2 + 0.5 * (count[0] + count[1]) / 2.0 + 1);
  }
}

TEST(Marginal, AFullDecoderIsPassedOverWhileAnotherHasRoom) {
  const auto policy = make_marginal(options(shape(1, 4, 2)));
  policy->worker_up({.id = WorkerId{0}, .max_running = 1}, 0ns);
  policy->worker_up({.id = WorkerId{1}, .max_running = 2}, 0ns);
  const auto red = uses({0, 1});
  const WorkerId first = *policy->admit(with(1, red), 0ns).worker;
  for (std::uint64_t id = 2; id < 4; ++id) policy->admit(with(id, red), 0ns);
  policy->finished(RequestId{1}, 0ns);
  EXPECT_EQ(policy->admit(with(9, uses({2, 3})), 0ns).worker, first);
}

TEST(Marginal, OthersRequestsWeighAsTheMean) {
  const auto policy = make_marginal(options(shape(1, 4, 2)));
  policy->worker_up({.id = WorkerId{0}}, 0ns);
  policy->worker_up({.id = WorkerId{1}}, 0ns);
  policy->worker_load(WorkerId{0}, {.requests = 8}, 0ns);  // after a restart: it runs what we do not know
  EXPECT_EQ(policy->admit(with(1, uses({0, 1})), 0ns).worker, WorkerId{1});
  policy->worker_load(WorkerId{7}, {.requests = 8}, 0ns);  // nobody we know
}

TEST(Marginal, WhatIsLearntForetellsRequestsThatComeFromThenOn) {
  MarginalOptions believing = options(shape(1, 4, 2));
  believing.predictor.trust.assign(1, 1.0f);
  believing.predictor.strength.assign(1, 1e-6f);
  const auto policy = make_marginal(believing);
  policy->worker_up({.id = WorkerId{0}}, 0ns);
  policy->worker_up({.id = WorkerId{1}}, 0ns);
  const std::vector<float> red{9, 9, 0, 0}, blue{0, 0, 9, 9};
  const auto counted = [](std::uint64_t id, const std::vector<float>& counts) {
    return Request{.id = RequestId{id}, .prompt_tokens = 1, .counts = counts, .counted_tokens = 9};
  };
  const WorkerId red_home = *policy->admit(counted(1, red), 0ns).worker;
  const WorkerId blue_home = *policy->admit(counted(2, blue), 0ns).worker;
  ASSERT_NE(red_home, blue_home);
  EXPECT_EQ(policy->admit(counted(3, red), 0ns).worker, red_home);
  policy->finished(RequestId{3}, 0ns);
  policy->learnt(signature::uniform_predictor(shape(1, 5, 2)), 1ms);
  EXPECT_EQ(policy->admit(counted(4, red), 0ns).worker, red_home) << "another size teaches nothing";
  policy->finished(RequestId{4}, 0ns);
  signature::Predictor always_blue = believing.predictor;
  always_blue.trust.assign(1, 0.0f);
  always_blue.mean = uses({2, 3});
  policy->learnt(always_blue, 2ms);
  EXPECT_EQ(policy->admit(counted(5, red), 2ms).worker, blue_home);
}

TEST(Marginal, DecodersComeAndGo) {
  const auto policy = make_marginal(options(shape(1, 4, 2)));
  EXPECT_FALSE(policy->admit(with(1, uses({0})), 0ns).worker);
  policy->worker_up({.id = WorkerId{5}}, 0ns);
  EXPECT_EQ(policy->admit(with(1, uses({0})), 0ns).worker, WorkerId{5});
  policy->worker_down(WorkerId{5}, 0ns);
  EXPECT_FALSE(policy->admit(with(2, uses({0})), 0ns).worker);
  policy->worker_up({.id = WorkerId{5}}, 0ns);  // restarted: empty
  policy->worker_up({.id = WorkerId{6}}, 0ns);
  const WorkerId home = *policy->admit(with(3, uses({0})), 0ns).worker;
  EXPECT_NE(*policy->admit(with(4, uses({1})), 0ns).worker, home);
  policy->finished(RequestId{1}, 0ns);  // of the life before
}

TEST(Marginal, WithSeveralRanksOnlyTheBusiestOneCounts) {
  // Experts 0, 1 on rank 0 and 2, 3 on rank 1 of worker 0; 0, 2 and 1, 3 on worker 1. A request that uses 0
  // and 1 runs on each. One more that uses 2 and 3 adds nothing to the busiest rank of worker 0, where the
  // other rank was idle; on worker 1 every rank reads one expert more.
  MarginalOptions plain = options(shape(1, 4, 2));
  plain.contrast = 0;
  const auto policy = make_marginal(plain);
  policy->worker_up({.id = WorkerId{0}, .ranks = 2, .rank_of_expert = {0, 0, 1, 1}}, 0ns);
  policy->worker_up({.id = WorkerId{1}, .ranks = 2, .rank_of_expert = {0, 1, 0, 1}}, 0ns);
  const auto red = uses({0, 1}), blue = uses({2, 3});
  EXPECT_EQ(policy->admit(with(1, red), 0ns).worker, WorkerId{1});  // one expert a rank
  EXPECT_EQ(policy->admit(with(2, red), 0ns).worker, WorkerId{1});  // the same two again add little
  policy->worker_down(WorkerId{1}, 0ns);
  EXPECT_EQ(policy->admit(with(3, red), 0ns).worker, WorkerId{0});
  policy->worker_up({.id = WorkerId{1}, .ranks = 2, .rank_of_expert = {0, 1, 0, 1}}, 0ns);
  policy->worker_load(WorkerId{1}, {.requests = 1}, 0ns);
  EXPECT_EQ(policy->admit(with(4, blue), 0ns).worker, WorkerId{0});
}

/// Against prices computed from the definition, in double, from scratch, memory and contrast included: the
/// policy must choose a decoder whose price is the least up to the rounding of its tables.
RC_GTEST_PROP(Marginal, ChoosesTheCheapestOfTheDefinition, ()) {
  Pcg32 random(*rc::gen::arbitrary<std::uint64_t>());
  const std::size_t layers = 1 + random.below(4), experts = 2 + random.below(9), cells = layers * experts;
  const std::size_t decoders = 1 + random.below(5), ranks = 1 + random.below(3);
  MarginalOptions all = options(shape(layers, experts, 1));
  all.step.per_kv_token = cost::Picoseconds(500);
  const auto policy = make_marginal(all);
  std::vector<Worker> workers;
  for (std::uint32_t id = 0; id < decoders; ++id) {
    workers.push_back({.id = WorkerId{id}, .ranks = ranks});
    for (std::size_t cell = 0; ranks > 1 && cell < cells; ++cell) {
      workers.back().rank_of_expert.push_back(
          static_cast<std::uint16_t>(random.below(static_cast<std::uint32_t>(ranks))));
    }
    policy->worker_up(workers.back(), 0ns);
  }
  struct Running {
    std::size_t worker;
    std::vector<double> nats;
    std::int64_t kv;
  };
  std::vector<Running> running, finished;
  std::vector<std::uint64_t> ids;  // of those running
  const auto nats_of = [](double p) { return p < 1 ? std::min(8.0, -std::log1p(-p)) : 8.0; };
  // Experts of a step: of the batch as it is, or (later) of as many requests of whom a share are typical.
  const auto experts_of = [&](std::size_t worker, bool later, const std::vector<double>* more) {
    std::vector<std::vector<double>> exponents(cells);
    std::vector<double> typical(cells);
    double got = 0, requests = 0;
    std::vector<Running> all_ever = finished;
    all_ever.insert(all_ever.end(), running.begin(), running.end());
    std::ranges::sort(all_ever, {}, &Running::kv);  // told apart by when they came, see below
    for (const Running& r : all_ever) {
      if (r.worker != worker) continue;
      got = std::min(all.memory.requests, got > 0 ? got + 0.25 : 1);
      for (std::size_t cell = 0; cell < cells; ++cell) typical[cell] += (r.nats[cell] - typical[cell]) / got;
    }
    std::vector<double> sum(cells);
    for (const Running& r : running) {
      if (r.worker != worker) continue;
      requests += 1;
      for (std::size_t cell = 0; cell < cells; ++cell) sum[cell] += r.nats[cell];
    }
    const double share = later && got > 0 ? all.memory.share : 0;
    double total = 0;
    for (std::size_t layer = 0; layer < layers; ++layer) {
      std::vector<double> on_rank(ranks);
      for (std::size_t e = 0; e < experts; ++e) {
        const std::size_t cell = layer * experts + e;
        double idle = std::exp(-((1 - share) * sum[cell] + share * requests * typical[cell]));
        if (more) idle *= 1 - (*more)[cell];
        on_rank[ranks > 1 ? workers[worker].rank_of_expert[cell] : 0] += 1 - idle;
      }
      total += *std::max_element(on_rank.begin(), on_rank.end());
    }
    return total;
  };
  for (std::uint64_t id = 0; id < 25; ++id) {
    std::vector<float> p(cells);
    for (float& value : p) value = static_cast<float>(random.uniform()) * 0.8f;
    std::vector<double> told(cells), nats(cells);
    for (std::size_t cell = 0; cell < cells; ++cell) {
      const auto value = static_cast<double>(p[cell]), mean = static_cast<double>(all.predictor.mean[cell]);
      told[cell] = std::clamp(value + all.contrast * (value - mean), 0.0, 1.0);
      nats[cell] = nats_of(value);
    }
    const auto prompt =
        static_cast<std::uint32_t>(100 * id + random.below(100));  // grows: the order of coming
    std::vector<double> prices;
    for (std::size_t worker = 0; worker < decoders; ++worker) {
      double requests = 0, kv = 0;
      for (const Running& r : running) {
        if (r.worker == worker) requests += 1, kv += static_cast<double>(r.kv);
      }
      const double added = experts_of(worker, true, &told) - experts_of(worker, true, nullptr);
      prices.push_back(all.persistence *
                           (experts_of(worker, false, nullptr) * 1e6 + requests * 1e3 + kv * 500) +
                       (added * 1e6 + 1e3 + prompt * 500.0) * (requests + 1));
    }
    const auto chosen = static_cast<std::size_t>(
        *policy->admit({.id = RequestId{id}, .prompt_tokens = prompt, .probabilities = p}, 0ns).worker);
    // 1 % of the expert terms: the table of routing/usage_sum.hpp.
    RC_ASSERT(prices[chosen] <= *std::min_element(prices.begin(), prices.end()) * 1.01 + 1e4);
    running.push_back({chosen, nats, prompt});
    ids.push_back(id);
    if (random.below(3) == 0) {
      const std::size_t leaves = random.below(static_cast<std::uint32_t>(running.size()));
      policy->finished(RequestId{ids[leaves]}, 0ns);
      finished.push_back(running[leaves]);
      running.erase(running.begin() + static_cast<std::ptrdiff_t>(leaves));
      ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(leaves));
    }
  }
}

TEST(Marginal, OfTwoBatchesAlikeTheOneThatUsedToServeTheKindIsTaken) {
  MarginalOptions mixed = options(shape(1, 4, 2));
  mixed.memory.share = 0.5;
  const auto policy = make_marginal(mixed);
  policy->worker_up({.id = WorkerId{0}}, 0ns);
  policy->worker_up({.id = WorkerId{1}}, 0ns);
  const auto red = uses({0, 1}), blue = uses({2, 3});
  const WorkerId red_home = *policy->admit(with(1, red), 0ns).worker;
  const WorkerId blue_home = *policy->admit(with(2, blue), 0ns).worker;
  ASSERT_NE(red_home, blue_home);
  policy->finished(RequestId{1}, 0ns);
  policy->finished(RequestId{2}, 0ns);
  // Both run one request of which nothing is known.
  ASSERT_NE(policy->admit({.id = RequestId{8}}, 0ns).worker, policy->admit({.id = RequestId{9}}, 0ns).worker);
  EXPECT_EQ(policy->admit(with(3, blue), 0ns).worker, blue_home);
  policy->finished(RequestId{3}, 0ns);
  EXPECT_EQ(policy->admit(with(4, red), 0ns).worker, red_home);
}

TEST(Marginal, WhatDecodersTrulyRanDecidesWhereNothingWasForetold) {
  const auto policy = make_marginal(options(shape(1, 4, 2)));
  policy->worker_up({.id = WorkerId{0}}, 0ns);
  policy->worker_up({.id = WorkerId{1}}, 0ns);
  const auto red = uses({0, 1}), blue = uses({2, 3});
  EXPECT_TRUE(policy->observed(WorkerId{0}, blue, 0ns));
  EXPECT_TRUE(policy->observed(WorkerId{1}, red, 0ns));
  EXPECT_FALSE(policy->observed(WorkerId{7}, red, 0ns)) << "never heard of";
  EXPECT_FALSE(policy->observed(WorkerId{0}, uses({0}, 3), 0ns)) << "of another model";
  // Both run one request of which nothing is known.
  ASSERT_NE(policy->admit({.id = RequestId{8}}, 0ns).worker, policy->admit({.id = RequestId{9}}, 0ns).worker);
  EXPECT_EQ(policy->admit(with(1, red), 0ns).worker, WorkerId{1});
  policy->finished(RequestId{1}, 0ns);
  EXPECT_EQ(policy->admit(with(2, blue), 0ns).worker, WorkerId{0});
}

TEST(Marginal, AdmitAndFinishedAllocateNothing) {
  const ModelShape model = shape(6, 32, 4);
  ThreadPool pool(1);
  Pcg32 random(1);
  std::vector<float> counts(40 * 6 * 32);
  for (float& count : counts) count = static_cast<float>(random.below(4));
  const std::vector<std::uint32_t> tokens(40, 16);
  const signature::CountsView view{6, 32, counts};
  MarginalOptions all = options(model);
  all.predictor = signature::fit_predictor({view, view, tokens, tokens},
                                           {.reads = 8, .effects = 8, .read_cells = 768}, pool);
  ASSERT_EQ(all.predictor.reads(), 8u);
  const auto policy = make_marginal(all);
  for (std::uint32_t id = 0; id < 4; ++id) policy->worker_up({.id = WorkerId{id}}, 0ns);
  allocations = 0;
  counting = true;
  for (std::uint64_t id = 0; id < 300; ++id) {
    policy->admit({.id = RequestId{id}, .counts = view.request(id % 40), .counted_tokens = 16}, 0ns);
    policy->first_token(RequestId{id}, 0ns);
    if (id >= 60) policy->finished(RequestId{id - 60}, 0ns);
    policy->worker_load(WorkerId{static_cast<std::uint32_t>(id % 4)},
                        {.requests = static_cast<std::uint32_t>(id % 30)}, 0ns);
  }
  counting = false;
  EXPECT_EQ(allocations, 0u);
  counting = true;  // the counter counts
  const auto probe = std::make_unique<std::vector<int>>(10);
  counting = false;
  EXPECT_EQ(allocations, 2u);
}

}  // namespace
}  // namespace moesaic::routing
