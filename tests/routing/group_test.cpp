#include "routing/group.hpp"

#include <map>
#include <set>

#include "core/random.hpp"

namespace moesaic::routing {
namespace {

using namespace std::chrono_literals;

/// One layer of as many experts as homes; home h is that of expert h.
GroupOptions options(std::size_t homes, std::vector<double> shares = {}) {
  signature::Assigner assigner{.space = {.layers = {LayerId{0}}, .rows = {0}, .experts = homes},
                               .prototypes = std::vector<float>(homes * homes),
                               .capacities = shares.empty() ? signature::equal_shares(homes) : shares};
  for (std::size_t home = 0; home < homes; ++home) assigner.prototypes[home * homes + home] = 1;
  return {.assigner = std::move(assigner), .layer_rows = 1};
}

/// Counts of a request that likes home `first` best, then `second`.
std::vector<float> likes(std::size_t homes, std::size_t first, std::size_t second) {
  std::vector<float> out(homes);
  out[second] = 1;
  out[first] = 4;
  return out;
}
Request request(std::uint64_t id, const std::vector<float>& counts) {
  return {.id = RequestId{id}, .counts = counts, .counted_tokens = 1};
}
Worker worker(std::uint32_t id, std::optional<std::uint32_t> home, std::uint32_t max_running = 0) {
  return {.id = WorkerId{id}, .max_running = max_running, .home = home};
}

TEST(Group, ARequestGoesHomeWhereverItsWorkerStands) {
  const auto policy = make_group(options(3));
  for (std::uint32_t id = 0; id < 3; ++id) policy->worker_up(worker(id, 2 - id), 0ns);
  for (std::uint32_t home = 0; home < 3; ++home) {
    const auto counts = likes(3, home, (home + 1) % 3);
    const Decision got = policy->admit(request(home, counts), 0ns);
    EXPECT_EQ(got.worker, WorkerId{2 - home});
    EXPECT_EQ(got.reason, Reason::kSignature);
  }
}

TEST(Group, AHomeAboveItsShareSendsToTheNextBestUntilRequestsEnd) {
  GroupOptions tight = options(3);
  tight.slack = 0;
  const auto policy = make_group(tight);
  for (std::uint32_t id = 0; id < 3; ++id) policy->worker_up(worker(id, id), 0ns);
  const auto counts = likes(3, 0, 2);
  std::vector<std::uint32_t> got;
  for (std::uint64_t id = 0; id < 5; ++id)
    got.push_back(static_cast<std::uint32_t>(*policy->admit(request(id, counts), 0ns).worker));
  // 0: 0 <= 1. 1: 1 <= 1/3 + 1. 2: 2 > 2/3 + 1, so home 2. 3: 2 <= 3/3 + 1. 4: 3 > 4/3 + 1, so home 2.
  EXPECT_EQ(got, (std::vector<std::uint32_t>{0, 0, 2, 0, 2}));
  for (std::uint64_t id = 0; id < 4; ++id) policy->finished(RequestId{id}, 1ms);
  EXPECT_EQ(policy->admit(request(9, counts), 1ms).worker, WorkerId{0});
}

TEST(Group, SharesAreTheAssigners) {
  GroupOptions uneven = options(2, {0.75, 0.25});
  uneven.slack = 0;
  uneven.grace_requests = 0;
  const auto policy = make_group(uneven);
  for (std::uint32_t id = 0; id < 2; ++id) policy->worker_up(worker(id, id), 0ns);
  const auto counts = likes(2, 1, 0);
  std::map<WorkerId, int> got;
  for (std::uint64_t id = 0; id < 400; ++id) ++got[*policy->admit(request(id, counts), 0ns).worker];
  EXPECT_NEAR(got[WorkerId{1}], 100, 1);
}

TEST(Group, AHomeThatIsDownGivesItsShareToTheOthers) {
  const auto policy = make_group(options(3));
  for (std::uint32_t id = 0; id < 3; ++id) policy->worker_up(worker(id, id), 0ns);
  policy->worker_down(WorkerId{0}, 0ns);
  const auto counts = likes(3, 0, 2);
  std::map<WorkerId, int> got;
  for (std::uint64_t id = 0; id < 60; ++id) ++got[*policy->admit(request(id, counts), 0ns).worker];
  EXPECT_EQ(got.size(), 2u);
  EXPECT_GT(got[WorkerId{2}], got[WorkerId{1}]);
  EXPECT_LE(got[WorkerId{2}], 35) << "half of all, 10 % and one more";
  policy->worker_up(worker(0, 0), 1ms);
  EXPECT_EQ(policy->admit(request(99, counts), 1ms).worker, WorkerId{0});
}

TEST(Group, SeveralWorkersOfOneHomeShareItsRequests) {
  const auto policy = make_group(options(2));
  for (std::uint32_t id = 0; id < 4; ++id) policy->worker_up(worker(id, id % 2), 0ns);
  std::map<WorkerId, int> got;
  for (std::uint64_t id = 0; id < 40; ++id) {
    const auto counts = likes(2, id % 2, (id + 1) % 2);
    const WorkerId chosen = *policy->admit(request(id, counts), 0ns).worker;
    EXPECT_EQ(index(chosen) % 2, id % 2);
    ++got[chosen];
  }
  for (const auto& [id, times] : got) EXPECT_EQ(times, 10) << index(id);
}

TEST(Group, WorkersThatNameNoHomeTakeThoseThatFewestServe) {
  const auto policy = make_group(options(3));
  policy->worker_up(worker(0, 1), 0ns);
  policy->worker_up(worker(1, std::nullopt), 0ns);
  policy->worker_up(worker(2, 77), 0ns);
  std::vector<std::size_t> got;
  for (std::uint64_t home = 0; home < 3; ++home) {
    const auto counts = likes(3, home, (home + 1) % 3);
    got.push_back(index(*policy->admit(request(home, counts), 0ns).worker));
  }
  EXPECT_EQ(got, (std::vector<std::size_t>{1, 0, 2}));
}

TEST(Group, AFullHomeIsPassedOverWhileOthersHaveRoom) {
  GroupOptions loose = options(2);
  loose.slack = 9;
  const auto policy = make_group(loose);
  policy->worker_up(worker(0, 0, 1), 0ns);
  policy->worker_up(worker(1, 1, 2), 0ns);
  const auto counts = likes(2, 0, 1);
  std::vector<std::size_t> got;
  for (std::uint64_t id = 0; id < 4; ++id)
    got.push_back(index(*policy->admit(request(id, counts), 0ns).worker));
  EXPECT_EQ(got, (std::vector<std::size_t>{0, 1, 1, 0})) << "then all are full, and the best waits";
}

TEST(Group, WithoutUsageLoadDecides) {
  const auto policy = make_group(options(2));
  for (std::uint32_t id = 0; id < 2; ++id) policy->worker_up(worker(id, id), 0ns);
  policy->worker_load(WorkerId{0}, {.requests = 5}, 0ns);
  const Decision got = policy->admit({.id = RequestId{1}}, 0ns);
  EXPECT_EQ(got.worker, WorkerId{1});
  EXPECT_EQ(got.reason, Reason::kFallback);
  const std::vector<float> other(7, 1.0f);
  EXPECT_EQ(policy->admit(request(2, other), 0ns).reason, Reason::kFallback);
}

}  // namespace
}  // namespace moesaic::routing
