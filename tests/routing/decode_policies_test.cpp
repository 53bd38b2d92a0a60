#include "routing/decode_policies.hpp"

#include <map>
#include <set>

#include "core/random.hpp"

namespace moesaic::routing {
namespace {

using namespace std::chrono_literals;

std::unique_ptr<DecodePolicy> make(std::string_view name, DecodePolicyConfig config = {}) {
  auto policy = make_decode_policy(name, config);
  EXPECT_TRUE(policy) << name;
  return std::move(*policy);
}

/// Two layers of three experts.
DecodePolicyConfig small_config(std::uint64_t seed) {
  const ModelShape shape{"m", 2, {LayerId{0}, LayerId{1}}, 3, 1};
  DecodePolicyConfig config{.seed = seed, .domain = {.shares = {3, 1, 2}}};
  config.eldr = {.space = signature::all_layers(shape, signature::Transform::kCount),
                 .layer_rows = 2,
                 .centroids = std::vector<float>(12, 0.40824829f),
                 .refit_every = 5ms,
                 .window = 30ms,
                 .min_requests_per_decoder = 1};
  config.marginal = {.predictor = signature::uniform_predictor(shape), .reserve_requests = 8};
  config.group = {.assigner = {.space = config.eldr.space,
                               .prototypes = std::vector<float>(18, 0.40824829f),
                               .capacities = signature::equal_shares(3)},
                  .layer_rows = 2};
  config.marginal.step.per_expert = cost::Picoseconds(1'000'000);
  return config;
}

Request request(std::uint64_t id) { return {.id = RequestId{id}, .prompt_tokens = 10}; }

void start(DecodePolicy& policy, std::uint32_t workers) {
  for (std::uint32_t id = 0; id < workers; ++id) policy.worker_up({.id = WorkerId{id}}, 0ns);
}

TEST(DecodePolicies, AreKnownByNameAndOthersAreNot) {
  for (const DecodePolicyEntry& entry : decode_policies()) {
    EXPECT_FALSE(entry.summary.empty());
    EXPECT_FALSE(entry.source.empty());
  }
  const auto missing = make_decode_policy("astrology", {});
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().kind, ErrorKind::kBadInput);
  EXPECT_NE(missing.error().message.find("random, round-robin, jsq"), std::string::npos)
      << missing.error().message;
}

TEST(DecodePolicies, RoundRobinTakesTurnsAndSkipsWhoLeft) {
  const auto policy = make("round-robin");
  start(*policy, 3);
  std::vector<std::size_t> got;
  for (std::uint64_t id = 0; id < 4; ++id) got.push_back(index(*policy->admit(request(id), 0ns).worker));
  EXPECT_EQ(got, (std::vector<std::size_t>{0, 1, 2, 0}));
  policy->worker_down(WorkerId{1}, 0ns);
  EXPECT_EQ(policy->admit(request(4), 0ns).worker, WorkerId{2});
  EXPECT_EQ(policy->admit(request(5), 0ns).worker, WorkerId{0});
}

TEST(DecodePolicies, JsqJoinsTheShortestQueueAsRequestsEnd) {
  const auto policy = make("jsq");
  start(*policy, 2);
  EXPECT_EQ(policy->admit(request(1), 0ns).worker, WorkerId{0});
  EXPECT_EQ(policy->admit(request(2), 0ns).worker, WorkerId{1});
  policy->finished(RequestId{2}, 1ms);
  EXPECT_EQ(policy->admit(request(3), 1ms).worker, WorkerId{1});
  policy->worker_load(WorkerId{1}, {.requests = 9}, 2ms);
  EXPECT_EQ(policy->admit(request(4), 2ms).worker, WorkerId{0});
  EXPECT_EQ(policy->admit(request(5), 2ms).worker, WorkerId{0});
}

TEST(DecodePolicies, RandomUsesEveryWorkerAboutEqually) {
  const auto policy = make("random", {.seed = 3});
  start(*policy, 4);
  std::map<WorkerId, int> got;
  for (std::uint64_t id = 0; id < 4000; ++id) ++got[*policy->admit(request(id), 0ns).worker];
  ASSERT_EQ(got.size(), 4u);
  for (const auto& [worker, times] : got) EXPECT_NEAR(times, 1000, 120) << index(worker);
}

TEST(DecodePolicies, TwoChoicesKeepQueuesMuchEvenerThanOne) {
  const auto longest = [](std::string_view name) {
    const auto policy = make(name, {.seed = 1});
    start(*policy, 50);
    std::map<WorkerId, int> queue;
    int most = 0;
    for (std::uint64_t id = 0; id < 1000; ++id)
      most = std::max(most, ++queue[*policy->admit(request(id), 0ns).worker]);
    return most;
  };
  EXPECT_LE(longest("p2c"), 24);  // mean 20
  EXPECT_GE(longest("random"), 28);
}

TEST(DecodePolicies, DomainSendsALabelToItsStretchOfWorkers) {
  const auto policy = make("domain", {.domain = {.shares = {1, 2, 1, 0}}});
  start(*policy, 4);
  const auto workers_of = [&](std::optional<std::uint32_t> domain) {
    std::set<std::size_t> got;
    for (std::uint64_t id = 0; id < 20; ++id) {
      Request labelled = request(id);
      labelled.domain = domain;
      got.insert(index(*policy->admit(labelled, 0ns).worker));
    }
    return got;
  };
  EXPECT_EQ(workers_of(0), (std::set<std::size_t>{0}));
  EXPECT_EQ(workers_of(1), (std::set<std::size_t>{1, 2}));
  EXPECT_EQ(workers_of(2), (std::set<std::size_t>{3}));
  EXPECT_EQ(workers_of(3).size(), 4u);  // no traffic was expected: by load
  EXPECT_EQ(workers_of(4).size(), 4u);
  EXPECT_EQ(workers_of(std::nullopt).size(), 4u);
  policy->worker_down(WorkerId{0}, 0ns);  // three workers: stretches of 0.75, 1.5, 0.75
  EXPECT_EQ(workers_of(0), (std::set<std::size_t>{1}));
  EXPECT_EQ(workers_of(1), (std::set<std::size_t>{1, 2, 3}));
  EXPECT_EQ(workers_of(2), (std::set<std::size_t>{3}));
}

TEST(DecodePolicies, WrongOptionsAreRefusedWithASentence) {
  const auto refused = [](std::string_view name, auto change, const char* part) {
    DecodePolicyConfig config = small_config(0);
    EXPECT_TRUE(make_decode_policy(name, config)) << name;
    change(config);
    const auto policy = make_decode_policy(name, config);
    ASSERT_FALSE(policy) << part;
    EXPECT_EQ(policy.error().kind, ErrorKind::kBadInput);
    EXPECT_NE(policy.error().message.find(part), std::string::npos) << policy.error().message;
  };
  refused("eldr", [](auto& c) { c.eldr.layer_rows = 1; }, "beyond the model's 1");
  refused("eldr", [](auto& c) { c.eldr.centroids.pop_back(); }, "11 numbers of centroids");
  refused("eldr", [](auto& c) { c.eldr.tau = -1; }, "tau is -1");
  refused(
      "eldr", [](auto& c) { c.eldr.space.transform = signature::Transform::kGateProbability; },
      "engines report counts");
  refused("eldr", [](auto& c) { c.eldr.refit_every = 0ns; }, "refit_every");
  refused("eldr-static", [](auto& c) { c.eldr.centroids.clear(); }, "moesaic fit");
  refused("eldr-static", [](auto& c) { c.eldr.space = {}; }, "no layers");
  refused("marginal", [](auto& c) { c.marginal.predictor.mean.clear(); }, "predictor");
  refused("marginal", [](auto& c) { c.marginal.ahead_share = -1; }, "ahead_share");
  refused("marginal", [](auto& c) { c.marginal.memory.share = 1.5; }, "memory");
  refused("marginal", [](auto& c) { c.marginal.memory.requests = 0; }, "memory");
  refused("marginal", [](auto& c) { c.marginal.contrast = -0.1; }, "contrast");
  refused("group", [](auto& c) { c.group.assigner = {}; }, "moesaic plan");
  refused("group", [](auto& c) { c.group.layer_rows = 1; }, "beyond the model's 1");
  refused("group", [](auto& c) { c.group.slack = -1; }, "slack");
}

TEST(DecodePolicies, DomainRefusesSharesThatAreNone) {
  EXPECT_FALSE(make_decode_policy("domain", {.domain = {.shares = {1, -1}}}));
  EXPECT_FALSE(
      make_decode_policy("domain", {.domain = {.shares = {std::numeric_limits<double>::quiet_NaN()}}}));
}

/// Any sequence of events, valid or not: a decision names a worker that is up, or there is none; the same
/// events give the same decisions.
RC_GTEST_PROP(DecodePolicies, AnyEventsLeadToWorkersThatAreUpAndTwiceTheSame, ()) {
  const auto seed = *rc::gen::inRange<std::uint64_t>(0, 1'000'000);
  for (const DecodePolicyEntry& entry : decode_policies()) {
    std::vector<std::optional<WorkerId>> first;
    for (int run = 0; run < 2; ++run) {
      const auto policy = make(entry.name, small_config(seed));
      ThreadPool pool(1);
      Pcg32 random(seed);
      std::set<WorkerId> up;
      std::vector<std::optional<WorkerId>> decisions;
      for (int event = 0; event < 120; ++event) {
        const Nanoseconds at(event * 1'000'000);
        const WorkerId worker{random.below(5)};
        Request next = request(random.below(30));
        next.domain = random.below(4);
        const float a = static_cast<float>(random.below(3)), b = static_cast<float>(random.below(3));
        const std::vector<float> counts = {a, 1, b, b, a, 0};
        if (random.below(4) > 0) next.counts = counts, next.counted_tokens = 4;
        switch (random.below(9)) {
          case 0:
            policy->worker_up({.id = worker, .max_running = random.below(6), .kv_capacity = random.below(60)},
                              at);
            up.insert(worker);
            break;
          case 1:
            policy->worker_down(worker, at);
            up.erase(worker);
            break;
          case 2:
            policy->worker_load(worker, {.requests = random.below(10)}, at);
            break;
          case 3:
            policy->finished(next.id, at);
            break;
          case 8:
            policy->observed(worker, std::span(counts).first(4 + random.below(3)), at);
            break;
          case 4:
            policy->first_token(next.id, at);
            if (const auto job = policy->tick(at)) policy->refitted(run_refit(*job, pool), at);
            break;
          default:
            const Decision decision = policy->admit(next, at);
            RC_ASSERT(decision.worker.has_value() == !up.empty());
            RC_ASSERT((decision.reason == Reason::kNoWorker) == up.empty());
            if (decision.worker) RC_ASSERT(up.contains(*decision.worker));
            decisions.push_back(decision.worker);
        }
      }
      if (run == 0) first = decisions;
      RC_ASSERT(decisions == first);
    }
  }
}

}  // namespace
}  // namespace moesaic::routing
