#include "routing/eldr.hpp"

#include <cmath>
#include <set>

#include "core/random.hpp"

namespace moesaic::routing {
namespace {

using namespace std::chrono_literals;

/// One layer of `experts`, plain counts.
EldrOptions options(std::size_t experts) {
  return {.space = {.layers = {LayerId{0}},
                    .rows = {0},
                    .experts = experts,
                    .transform = signature::Transform::kCount},
          .layer_rows = 1};
}

std::vector<float> axis(std::size_t experts, std::size_t e, float value = 1) {
  std::vector<float> out(experts);
  out[e] = value;
  return out;
}

std::vector<float> axes(std::size_t experts) {
  std::vector<float> out;
  for (std::size_t e = 0; e < experts; ++e) {
    const auto row = axis(experts, e);
    out.insert(out.end(), row.begin(), row.end());
  }
  return out;
}

Request request(std::uint64_t id, const std::vector<float>& counts) {
  return {.id = RequestId{id}, .counts = counts, .counted_tokens = 1};
}

void start(DecodePolicy& policy, std::uint32_t workers) {
  for (std::uint32_t id = 0; id < workers; ++id) policy.worker_up({.id = WorkerId{id}}, 0ns);
}

TEST(Eldr, TheNearestCentroidDecidesWhenTauIsZero) {
  EldrOptions nearest = options(4);
  nearest.centroids = axes(4);
  nearest.tau = 0;
  nearest.nearest_two = false;
  const auto policy = make_eldr(nearest);
  EXPECT_EQ(policy->name(), "eldr-static");
  start(*policy, 4);
  for (std::uint64_t id = 0; id < 40; ++id) {
    EXPECT_EQ(policy->admit(request(id, axis(4, id % 4, 7)), 0ns).worker,
              WorkerId{static_cast<std::uint32_t>(id % 4)});
  }
}

TEST(Eldr, AmongThoseWithinTauTheLeastLoadedDecides) {
  EldrOptions two = options(3);
  two.centroids = axes(3);
  const auto policy = make_eldr(two);
  start(*policy, 3);
  const std::vector<float> between = {10, 9.5f, 0};  // cosines 0.725 and 0.689
  std::vector<int> count(3);
  for (std::uint64_t id = 0; id < 10; ++id)
    ++count[static_cast<std::size_t>(*policy->admit(request(id, between), 0ns).worker)];
  EXPECT_EQ(count, (std::vector<int>{5, 5, 0}));
}

TEST(Eldr, WhenOneAloneQualifiesTheNearestTwoDo) {
  EldrOptions two = options(3);
  two.centroids = axes(3);
  const auto policy = make_eldr(two);
  start(*policy, 3);
  const std::vector<float> lopsided = {10, 3, 0};  // cosines 0.96 and 0.29
  std::set<WorkerId> used;
  for (std::uint64_t id = 0; id < 10; ++id) used.insert(*policy->admit(request(id, lopsided), 0ns).worker);
  EXPECT_EQ(used, (std::set<WorkerId>{WorkerId{0}, WorkerId{1}}));
}

TEST(Eldr, ALargeTauIsJoinTheShortestQueue) {
  EldrOptions wide = options(3);
  wide.centroids = axes(3);
  wide.tau = 2;
  const auto policy = make_eldr(wide);
  start(*policy, 3);
  std::vector<int> count(3);
  for (std::uint64_t id = 0; id < 9; ++id)
    ++count[static_cast<std::size_t>(*policy->admit(request(id, axis(3, 0)), 0ns).worker)];
  EXPECT_EQ(count, (std::vector<int>{3, 3, 3}));
}

TEST(Eldr, RequestsWithoutASignatureGoByLoad) {
  EldrOptions with = options(3);
  with.centroids = axes(3);
  const auto policy = make_eldr(with);
  start(*policy, 3);
  EXPECT_EQ(policy->admit({.id = RequestId{1}}, 0ns).reason, Reason::kFallback);
  const std::vector<float> wrong(5, 1);
  EXPECT_EQ(policy->admit(request(2, wrong), 0ns).reason, Reason::kFallback);
}

TEST(Eldr, LearnsItsCentroidsFromTheLastSeconds) {
  EldrOptions rolling = options(4);
  rolling.refit_every = 1s;
  rolling.window = 5s;
  rolling.tau = 0;
  rolling.nearest_two = false;
  const auto policy = make_eldr(rolling);
  EXPECT_EQ(policy->name(), "eldr");
  start(*policy, 2);
  ThreadPool pool(1);
  EXPECT_FALSE(policy->tick(0ns));  // nothing seen yet
  const auto red = axis(4, 0), blue = axis(4, 3);
  for (std::uint64_t id = 0; id < 20; ++id) {
    EXPECT_EQ(policy->admit(request(id, id % 2 == 0 ? red : blue), 1s).reason, Reason::kFallback);
  }
  auto job = policy->tick(2s);
  ASSERT_TRUE(job);
  EXPECT_EQ(job->clusters, 2u);
  EXPECT_EQ(job->signatures.rows(), 20u);
  EXPECT_TRUE(job->initial.empty());
  EXPECT_FALSE(policy->tick(9s));  // one job at a time
  policy->refitted(run_refit(*job, pool), 3s);
  const WorkerId red_home = *policy->admit(request(100, red), 3s).worker;
  const WorkerId blue_home = *policy->admit(request(101, blue), 3s).worker;
  EXPECT_NE(red_home, blue_home);
  for (std::uint64_t id = 102; id < 120; ++id)
    EXPECT_EQ(policy->admit(request(id, red), 3s).worker, red_home);

  // The next fit sees other proportions, but whoever held a kind keeps it.
  job = policy->tick(4s);
  ASSERT_TRUE(job);
  EXPECT_EQ(job->initial.size(), 8u);
  policy->refitted(run_refit(*job, pool), 4s);
  EXPECT_EQ(policy->admit(request(200, blue), 4s).worker, blue_home);
  EXPECT_FALSE(policy->tick(100s));  // the window is empty
}

TEST(Eldr, AFitForOtherDecodersIsDroppedAndAskedForAgain) {
  EldrOptions rolling = options(4);
  rolling.refit_every = 10s;
  rolling.window = 100s;
  const auto policy = make_eldr(rolling);
  start(*policy, 2);
  ThreadPool pool(1);
  for (std::uint64_t id = 0; id < 30; ++id) policy->admit(request(id, axis(4, id % 4)), 1s);
  auto job = policy->tick(11s);
  ASSERT_TRUE(job);
  policy->worker_up({.id = WorkerId{2}}, 11s);
  policy->refitted(run_refit(*job, pool), 11s);
  EXPECT_EQ(policy->admit(request(50, axis(4, 0)), 11s).reason, Reason::kFallback);
  job = policy->tick(12s);  // not due by time, but the decoders changed
  ASSERT_TRUE(job);
  EXPECT_EQ(job->clusters, 3u);
  policy->refitted(run_refit(*job, pool), 12s);
  EXPECT_EQ(policy->admit(request(51, axis(4, 0)), 12s).reason, Reason::kSignature);
  EXPECT_FALSE(policy->tick(13s));
  job = policy->tick(22s);
  ASSERT_TRUE(job);
  policy->refitted(std::nullopt, 22s);  // it failed: the centroids stay
  EXPECT_EQ(policy->admit(request(52, axis(4, 0)), 22s).reason, Reason::kSignature);
}

TEST(Eldr, ADecoderThatJoinsGetsRequestsByLoadUntilTheNextFit) {
  EldrOptions two = options(4);
  two.centroids = axes(4);
  two.centroids.resize(8);
  two.tau = 0;
  const auto policy = make_eldr(two);
  start(*policy, 3);
  std::set<WorkerId> used;
  for (std::uint64_t id = 0; id < 12; ++id) used.insert(*policy->admit(request(id, axis(4, 0)), 0ns).worker);
  EXPECT_TRUE(used.contains(WorkerId{2}));
  policy->worker_down(WorkerId{0}, 0ns);
  policy->worker_down(WorkerId{1}, 0ns);
  EXPECT_EQ(policy->admit(request(99, axis(4, 0)), 0ns).worker, WorkerId{2});
}

TEST(Eldr, ARefitIsTheSameOnAnyNumberOfThreads) {
  Pcg32 random(4);
  std::vector<float> dense(60 * 8);
  for (float& value : dense) value = static_cast<float>(random.below(5));
  RefitJob job{.clusters = 4, .signatures = solve::sparse_rows(dense, 8), .seed = 1};
  solve::normalise(job.signatures);
  ThreadPool one(1), three(3);
  EXPECT_EQ(run_refit(job, one).centroids, run_refit(job, three).centroids);
}

TEST(Eldr, RecordedRequestsGiveCentroidsWhereTheWindowHasTooFew) {
  EldrOptions rolling = options(2);
  rolling.refit_every = 1s;
  rolling.nearest_two = false;
  const auto policy = make_eldr(rolling);
  start(*policy, 2);
  const std::vector<float> left = axis(2, 0, 9), right = axis(2, 1, 5), other_model = axis(3, 2);
  EXPECT_EQ(policy->admit(request(1, left), 0ns).reason, Reason::kFallback) << "no centroid yet";
  const std::vector<std::span<const float>> few(7, left);
  EXPECT_FALSE(policy->recorded(few, 0ns)) << "4 a decoder";
  std::vector<std::span<const float>> recorded(4, left);
  recorded.insert(recorded.end(), 4, right);
  recorded.insert(recorded.end(), 4, other_model);
  const auto job = policy->recorded(recorded, 0ns);
  ASSERT_TRUE(job);
  EXPECT_EQ(job->signatures.rows(), 8u);
  EXPECT_FALSE(policy->recorded(recorded, 0ns)) << "one is out";
  ThreadPool pool(1);
  policy->refitted(run_refit(*job, pool), 1s);
  const Decision l = policy->admit(request(2, left), 1s), r = policy->admit(request(3, right), 1s);
  EXPECT_EQ(l.reason, Reason::kSignature);
  EXPECT_NE(l.worker, r.worker);
  EXPECT_EQ(policy->admit(request(4, left), 1s).worker, l.worker);
  for (std::uint64_t id = 5; id < 15; ++id) policy->admit(request(id, left), 1s);
  EXPECT_FALSE(policy->recorded(recorded, 1s)) << "the window has enough of its own";
  EXPECT_TRUE(policy->recorded(recorded, 60s)) << "it has run empty";
}

TEST(Eldr, AStaticOneLearnsNothingFromRecordedRequests) {
  EldrOptions fixed = options(2);
  fixed.centroids = axes(2);
  const auto policy = make_eldr(fixed);
  start(*policy, 2);
  const std::vector<float> left = axis(2, 0);
  EXPECT_FALSE(policy->recorded(std::vector<std::span<const float>>(20, left), 0ns));
}

}  // namespace
}  // namespace moesaic::routing
