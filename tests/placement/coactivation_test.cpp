#include "placement/coactivation.hpp"

#include <algorithm>
#include <set>

#include "placement/algorithms.hpp"
#include "placement/fake_demand.hpp"
#include "placement/planted_demand.hpp"

namespace moesaic::placement {
namespace {

std::vector<ExpertId> experts(std::initializer_list<std::size_t> list) {
  std::vector<ExpertId> out;
  for (const std::size_t e : list) out.push_back(ExpertId(e));
  return out;
}

TEST(Coactivation, CountsTheTokensThatChoseBoth) {
  std::vector<ExpertId> tokens = experts({0, 1, 0, 1, 1, 2});
  tokens.push_back(ExpertId(2));
  tokens.push_back(kMissingExpert);
  EXPECT_EQ(coactivation(tokens, 2, 3), (std::vector<std::int64_t>{0, 2, 0, 2, 0, 1, 0, 1, 0}));
}

/// Experts 0..3 fire together and so do 4..7, interleaved so that `linear` cuts both.
class TwoCliques : public ::testing::Test {
 protected:
  TwoCliques() {
    for (std::size_t t = 0; t < 64; ++t) {
      const std::size_t clique = t % 2;
      for (std::size_t i = 0; i < 2; ++i) tokens_.push_back(ExpertId((t / 2 + i) % 4 * 2 + clique));
      homes_.push_back(HomeId(clique));
    }
  }
  std::vector<ExpertId> tokens_;
  std::vector<HomeId> homes_;
};

std::set<std::size_t> on_node(const Placement& placement, std::size_t node) {
  const std::size_t per_node = placement.slots() / placement.topology().nodes;
  std::set<std::size_t> held;
  for (const ExpertId e : placement.layer(0).subspan(node * per_node, per_node)) held.insert(index(e));
  return held;
}

TEST_F(TwoCliques, EveryCoactivationMethodKeepsThemWhole) {
  const testing::FakeDemand demand(1, 8, 2, tokens_, homes_);
  const std::set<std::set<std::size_t>> whole = {{0, 2, 4, 6}, {1, 3, 5, 7}};
  for (const Algorithm* algorithm : {&greedy_coactivation(), &metis(), &tacg()}) {
    const auto plan = algorithm->place({.demand = demand,
                                        .topology = {.nodes = 2, .gpus_per_node = 2},
                                        .slots_per_gpu = 2,
                                        .objective = {}});
    ASSERT_TRUE(plan) << plan.error().message;
    EXPECT_EQ((std::set{on_node(plan->placement, 0), on_node(plan->placement, 1)}), whole)
        << algorithm->name();
  }
}

TEST_F(TwoCliques, CooccurrenceOfTrtllmGrowsARankFromItsHottestExpert) {
  const testing::FakeDemand demand(1, 8, 2, tokens_, homes_);
  const auto plan = trtllm_cooccurrence().place(
      {.demand = demand, .topology = {.nodes = 2, .gpus_per_node = 1}, .slots_per_gpu = 4, .objective = {}});
  ASSERT_TRUE(plan) << plan.error().message;
  // alpha = 0.8 stops a rank at 80 % of the average load: all four experts of a clique are 100 %, so the
  // last one of each comes by load, onto the lightest rank.
  const auto first = plan->placement.layer(0).first(3);
  std::set<std::size_t> parity;
  for (const ExpertId e : first) parity.insert(index(e) % 2);
  EXPECT_EQ(parity.size(), 1u);
}

TEST(CoactivationMethods, FillEverySlotOnceTheExpertsHaveOneAndKeepCopiesApart) {
  const testing::PlantedDemand demand({.layers = 2, .experts = 16, .homes = 4, .requests = 40});
  for (const Algorithm* algorithm : {&greedy_coactivation(), &metis(), &tacg(), &trtllm_cooccurrence()}) {
    for (const std::size_t per_gpu : {2U, 3U, 4U}) {
      const Problem problem{.demand = demand,
                            .topology = {.nodes = 4, .gpus_per_node = 2},
                            .slots_per_gpu = per_gpu,
                            .objective = {}};
      const auto plan = algorithm->place(problem);  // Placement::make checks that every expert has a slot
      ASSERT_TRUE(plan) << algorithm->name() << plan.error().message;
      ThreadPool pool(2);
      Problem threaded = problem;
      threaded.pool = &pool;
      EXPECT_EQ(algorithm->place(threaded)->placement, plan->placement) << algorithm->name();
      if (algorithm == &trtllm_cooccurrence()) continue;  // the source lets copies meet
      for (std::size_t row = 0; row < 2; ++row) {
        EXPECT_EQ(testing::doubled_on_a_gpu(plan->placement, row), 0u) << algorithm->name() << per_gpu;
      }
    }
  }
}

TEST(Tacg, WithoutLabelsItSaysSoAndPutsGroupsWhereTheirTokensLive) {
  // Clique 0 lives on node 1 and clique 1 on node 0.
  std::vector<ExpertId> tokens;
  std::vector<HomeId> homes;
  for (std::size_t t = 0; t < 64; ++t) {
    for (std::size_t i = 0; i < 2; ++i) tokens.push_back(ExpertId((t / 2 + i) % 4 * 2 + t % 2));
    homes.push_back(HomeId(1 - t % 2));
  }
  const testing::FakeDemand demand(1, 8, 2, tokens, homes);
  const auto plan = tacg().place(
      {.demand = demand, .topology = {.nodes = 2, .gpus_per_node = 1}, .slots_per_gpu = 4, .objective = {}});
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_EQ(on_node(plan->placement, 1), (std::set<std::size_t>{0, 2, 4, 6}));
  ASSERT_EQ(plan->notes.size(), 1u);
  EXPECT_NE(plan->notes[0].find("no domain labels"), std::string::npos);
}

/// Tokens of two experts each, with their families.
struct Pairs {
  std::vector<ExpertId> tokens = {};
  std::vector<std::uint32_t> domains = {};

  void add(std::size_t a, std::size_t b, std::uint32_t family, std::size_t times) {
    for (; times > 0; --times) {
      tokens.push_back(ExpertId(a));
      tokens.push_back(ExpertId(b));
      domains.push_back(family);
    }
  }
};

/// FakeDemand with a family for every token.
class FamilyDemand final : public Demand {
 public:
  FamilyDemand(const testing::FakeDemand& inner, std::vector<std::uint32_t> domains)
      : inner_(inner), domains_(std::move(domains)) {}
  const ModelShape& shape() const override { return inner_.shape(); }
  std::span<const double> loads() const override { return inner_.loads(); }
  bool has_tokens() const override { return true; }
  std::span<const std::uint32_t> domains() const override { return domains_; }
  Result<LayerDemand> layer(std::size_t row) const override { return inner_.layer(row); }

 private:
  const testing::FakeDemand& inner_;
  std::vector<std::uint32_t> domains_;
};

TEST(Tacg, APairThatIsTightInItsFamilyBeatsAMixedPairThatFiresAsOften) {
  // Expert 0 fires 12 times with 1, in both families alike, and 10 times with 2, all in family 0, where 2
  // lives. Plain co-activation joins 0-1, the reweighted one 0-2.
  Pairs pairs;
  pairs.add(0, 1, 0, 6);
  pairs.add(0, 1, 1, 6);
  pairs.add(0, 2, 0, 10);
  pairs.add(3, index(kMissingExpert), 1, 15);  // takes the other node's seed
  const testing::FakeDemand inner(1, 4, 2, pairs.tokens,
                                  std::vector<HomeId>(pairs.domains.size(), HomeId(0)));
  const FamilyDemand demand(inner, pairs.domains);
  const Problem problem{
      .demand = demand, .topology = {.nodes = 2, .gpus_per_node = 1}, .slots_per_gpu = 2, .objective = {}};
  const auto aware = tacg().place(problem);
  const auto agnostic = greedy_coactivation().place(problem);
  ASSERT_TRUE(aware && agnostic);
  EXPECT_EQ(on_node(agnostic->placement, 0), (std::set<std::size_t>{0, 1}));
  EXPECT_EQ(on_node(aware->placement, 0), (std::set<std::size_t>{0, 2}));
}

TEST(Tacg, CopiesGoToExpertsThatAreCentralInEveryFamily) {
  // Expert 0 fires with all in both families; 1 is hotter, but in family 0 alone.
  Pairs pairs;
  pairs.add(0, 2, 0, 10);
  pairs.add(0, 3, 1, 10);
  pairs.add(1, 2, 0, 40);
  pairs.add(2, 3, 1, 1);
  const testing::FakeDemand inner(1, 4, 2, pairs.tokens,
                                  std::vector<HomeId>(pairs.domains.size(), HomeId(0)));
  const FamilyDemand demand(inner, pairs.domains);
  const auto plan = tacg().place(
      {.demand = demand, .topology = {.nodes = 2, .gpus_per_node = 1}, .slots_per_gpu = 3, .objective = {}});
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_EQ(std::ranges::count(plan->placement.layer(0), ExpertId(0)), 2);
}

}  // namespace
}  // namespace moesaic::placement
