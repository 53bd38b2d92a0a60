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
      DecodePolicyConfig config{.seed = seed, .domain = {.shares = {3, 1, 2}}};
      const auto policy = make(entry.name, config);
      Pcg32 random(seed);
      std::set<WorkerId> up;
      std::vector<std::optional<WorkerId>> decisions;
      for (int event = 0; event < 120; ++event) {
        const Nanoseconds at(event * 1'000'000);
        const WorkerId worker{random.below(5)};
        Request next = request(random.below(30));
        next.domain = random.below(4);
        switch (random.below(8)) {
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
          case 4:
            policy->first_token(next.id, at);
            policy->tick(at);
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
