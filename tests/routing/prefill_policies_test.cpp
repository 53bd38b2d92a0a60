#include "routing/prefill_policies.hpp"

#include <map>
#include <set>

#include "core/random.hpp"

namespace moesaic::routing {
namespace {

using namespace std::chrono_literals;

std::unique_ptr<PrefillPolicy> make(std::string_view name, PrefillPolicyConfig config = {}) {
  auto policy = make_prefill_policy(name, config);
  EXPECT_TRUE(policy) << name;
  return std::move(*policy);
}

void start(PrefillPolicy& policy, std::uint32_t workers) {
  for (std::uint32_t id = 0; id < workers; ++id) policy.worker_up({.id = WorkerId{id}}, 0ns);
}

Request request(std::uint64_t id, std::uint32_t tokens, std::uint64_t prefix = 0) {
  return {.id = RequestId{id}, .prompt_tokens = tokens, .prefix_hash = prefix};
}

TEST(PrefillPolicies, RoundRobinTakesTurns) {
  const auto policy = make("round-robin");
  EXPECT_FALSE(policy->admit(request(0, 1), 0ns).worker);
  start(*policy, 2);
  EXPECT_EQ(policy->admit(request(1, 1), 0ns).worker, WorkerId{0});
  EXPECT_EQ(policy->admit(request(2, 1), 0ns).worker, WorkerId{1});
  EXPECT_EQ(policy->admit(request(3, 1), 0ns).worker, WorkerId{0});
}

TEST(PrefillPolicies, LeastLoadedCountsPromptTokensNotRequests) {
  const auto policy = make("least-loaded");
  start(*policy, 2);
  EXPECT_EQ(policy->admit(request(1, 1000), 0ns).worker, WorkerId{0});
  for (std::uint64_t id = 2; id < 6; ++id)
    EXPECT_EQ(policy->admit(request(id, 100), 0ns).worker, WorkerId{1});
  policy->prefill_done(RequestId{1}, 1ms);
  EXPECT_EQ(policy->admit(request(7, 100), 1ms).worker, WorkerId{0});
}

TEST(PrefillPolicies, OnePrefixStaysAtOneWorkerWhileThereIsRoom) {
  const auto policy = make("prefix-hash");
  start(*policy, 4);
  std::map<std::uint64_t, WorkerId> home;
  for (std::uint64_t id = 0; id < 400; ++id) {
    const std::uint64_t prefix = 1 + id % 20;
    const Decision decision = policy->admit(request(id, 10, prefix), 0ns);
    EXPECT_EQ(decision.reason, Reason::kPrefix);
    policy->prefill_done(RequestId{id}, 0ns);
    if (home.contains(prefix)) {
      EXPECT_EQ(home[prefix], *decision.worker);
    }
    home[prefix] = *decision.worker;
  }
  std::set<WorkerId> used;
  for (const auto& [prefix, worker] : home) used.insert(worker);
  EXPECT_EQ(used.size(), 4u);

  policy->worker_down(WorkerId{2}, 0ns);  // only its prefixes move
  for (const auto& [prefix, worker] : home) {
    const Decision decision = policy->admit(request(1000 + prefix, 10, prefix), 0ns);
    policy->prefill_done(RequestId{1000 + prefix}, 0ns);
    if (worker != WorkerId{2}) {
      EXPECT_EQ(*decision.worker, worker);
    }
  }
}

RC_GTEST_PROP(PrefillPolicies, PrefixHashKeepsItsBoundWhateverTheSkew, ()) {
  const auto policy = make("prefix-hash", {.prefix_hash = {.max_over_mean = 1.5}});
  const auto workers = *rc::gen::inRange<std::uint32_t>(1, 8);
  start(*policy, workers);
  Pcg32 random(*rc::gen::arbitrary<std::uint64_t>());
  std::map<WorkerId, double> load;
  double total = 0;
  for (std::uint64_t id = 0; id < 200; ++id) {
    const std::uint32_t tokens = 1 + random.below(100);
    const std::uint64_t prefix = random.below(10) < 8 ? 1 : 2 + random.below(5);  // one prefix is 80 %
    const WorkerId worker = *policy->admit(request(id, tokens, prefix), 0ns).worker;
    total += tokens;
    RC_ASSERT(load[worker] <= 1.5 * total / workers + 1e-9);  // before it got this one
    load[worker] += tokens;
  }
}

TEST(PrefillPolicies, WithoutAPrefixLoadDecides) {
  const auto policy = make("prefix-hash");
  start(*policy, 3);
  std::set<WorkerId> used;
  for (std::uint64_t id = 0; id < 3; ++id) {
    const Decision decision = policy->admit(request(id, 5), 0ns);
    EXPECT_EQ(decision.reason, Reason::kFallback);
    used.insert(*decision.worker);
  }
  EXPECT_EQ(used.size(), 3u);
}

TEST(PrefillPolicies, WrongNamesAndBoundsAreRefused) {
  const auto missing = make_prefill_policy("nearest", {});
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().message.find("round-robin, least-loaded, prefix-hash"), std::string::npos);
  const auto bound = make_prefill_policy("prefix-hash", {.prefix_hash = {.max_over_mean = 1}});
  ASSERT_FALSE(bound);
  EXPECT_NE(bound.error().message.find("max_over_mean is 1"), std::string::npos);
}

TEST(PrefillPolicies, ARequestAdmittedTwiceCountsOnce) {
  for (const PrefillPolicyEntry& entry : prefill_policies()) {
    const auto policy = make(entry.name);
    start(*policy, 1);
    policy->admit(request(1, 10, 5), 0ns);
    policy->admit(request(1, 10, 5), 0ns);
    policy->prefill_done(RequestId{1}, 0ns);
    policy->prefill_done(RequestId{1}, 0ns);
    policy->worker_up({.id = WorkerId{9}}, 0ns);
    if (entry.name == "least-loaded") {
      EXPECT_EQ(policy->admit(request(2, 1), 0ns).worker, WorkerId{9});  // it got fewer so far
    }
  }
}

}  // namespace
}  // namespace moesaic::routing
