#include "placement/eplb.hpp"

#include <algorithm>
#include <limits>

#include "placement/algorithms.hpp"
#include "placement/eplb_golden.hpp"
#include "placement/fake_demand.hpp"

namespace moesaic::placement {
namespace {

using eplb::rebalance;
using eplb::Shape;

TEST(Eplb, EqualsTheReferenceElementByElementOnAllGoldenCases) {
  MOESAIC_NEEDS_SHARED("golden/eplb/cases.json");
  const auto goldens = testing::read_eplb_goldens();
  ASSERT_TRUE(goldens) << goldens.error().message;
  EXPECT_EQ(goldens->size(), 10u);
  ThreadPool pool(2);
  for (const testing::EplbGolden& golden : *goldens) {
    for (ThreadPool* threads : {static_cast<ThreadPool*>(nullptr), &pool}) {
      const auto mapping = rebalance(golden.weight, golden.shape, threads);
      ASSERT_TRUE(mapping) << golden.name << mapping.error().message;
      EXPECT_EQ(testing::difference(golden, *mapping), "");
    }
  }
}

TEST(Eplb, TheAlgorithmGivesTheReferencesSlots) {
  MOESAIC_NEEDS_SHARED("golden/eplb/cases.json");
  const auto goldens = testing::read_eplb_goldens();
  ASSERT_TRUE(goldens) << goldens.error().message;
  for (const testing::EplbGolden& golden : *goldens) {
    const testing::FakeDemand demand(golden.shape.layers, golden.shape.experts,
                                     std::vector<double>(golden.weight.begin(), golden.weight.end()));
    const Problem problem{
        .demand = demand,
        .topology = {.nodes = golden.shape.nodes, .gpus_per_node = golden.shape.gpus / golden.shape.nodes},
        .slots_per_gpu = golden.shape.replicas / golden.shape.gpus,
        .objective = {},
        .expert_groups = golden.shape.groups};
    const auto solution = eplb_algorithm().place(problem);
    ASSERT_TRUE(solution) << solution.error().message;
    const auto slots = solution->placement.all_slots();
    EXPECT_TRUE(std::ranges::equal(slots, golden.phy2log, {}, [](ExpertId e) { return std::int64_t(e); }))
        << golden.name;
    EXPECT_EQ(solution->notes.size(), golden.shape.hierarchical() || golden.shape.groups == 1 ? 0u : 1u);
  }
}

/// The rules of the header in the plainest code, for the global policy of one layer.
std::vector<std::int32_t> plain_global(const std::vector<float>& weight, std::size_t slots,
                                       std::size_t gpus) {
  std::vector<std::size_t> expert_of;
  std::vector<float> copies(weight.size(), 1);
  for (std::size_t e = 0; e < weight.size(); ++e) expert_of.push_back(e);
  while (expert_of.size() < slots) {
    std::size_t best = 0;
    for (std::size_t e = 1; e < weight.size(); ++e) {
      if (weight[e] / copies[e] > weight[best] / copies[best]) best = e;
    }
    expert_of.push_back(best);
    ++copies[best];
  }
  const std::size_t per_gpu = slots / gpus;
  if (per_gpu == 1) return {expert_of.begin(), expert_of.end()};
  std::vector<std::size_t> order(slots);
  for (std::size_t i = 0; i < slots; ++i) order[i] = i;
  const auto share = [&](std::size_t phy) { return weight[expert_of[phy]] / copies[expert_of[phy]]; };
  std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) { return share(a) > share(b); });
  std::vector<std::vector<std::int32_t>> packs(gpus);
  std::vector<float> load(gpus);
  for (const std::size_t phy : order) {
    std::size_t best = gpus;
    for (std::size_t g = 0; g < gpus; ++g) {
      if (packs[g].size() < per_gpu && (best == gpus || load[g] < load[best])) best = g;
    }
    packs[best].push_back(static_cast<std::int32_t>(expert_of[phy]));
    load[best] += share(phy);
  }
  std::vector<std::int32_t> out;
  for (const auto& pack : packs) out.insert(out.end(), pack.begin(), pack.end());
  return out;
}

RC_GTEST_PROP(EplbProperty, TheGlobalPolicyEqualsThePlainestCode, ()) {
  const auto gpus = *rc::gen::inRange<std::size_t>(1, 20);
  const auto per_gpu = *rc::gen::inRange<std::size_t>(1, 5);
  const auto experts = *rc::gen::inRange<std::size_t>(1, gpus * per_gpu + 1);
  std::vector<float> weight;
  for (std::size_t e = 0; e < experts; ++e)
    weight.push_back(static_cast<float>(*rc::gen::inRange(0, 20)) / 3);
  const auto mapping = rebalance(
      weight,
      {.layers = 1, .experts = experts, .replicas = gpus * per_gpu, .groups = 1, .nodes = 1, .gpus = gpus});
  RC_ASSERT(mapping.has_value());
  RC_ASSERT(mapping->phy2log == plain_global(weight, gpus * per_gpu, gpus));
}

RC_GTEST_PROP(EplbProperty, MapsAreInverseAndGroupsStayOnOneNode, ()) {
  const auto nodes = *rc::gen::inRange<std::size_t>(1, 4);
  const auto groups = nodes * *rc::gen::inRange<std::size_t>(1, 4);
  const auto experts = groups * *rc::gen::inRange<std::size_t>(1, 4);
  const auto gpus = nodes * *rc::gen::inRange<std::size_t>(1, 4);
  const auto per_gpu = (experts + gpus - 1) / gpus + *rc::gen::inRange<std::size_t>(0, 3);
  const Shape shape{.layers = 2,
                    .experts = experts,
                    .replicas = gpus * per_gpu,
                    .groups = groups,
                    .nodes = nodes,
                    .gpus = gpus};
  std::vector<float> weight(2 * experts);
  for (float& w : weight) w = static_cast<float>(*rc::gen::inRange(0, 1000));
  const auto mapping = rebalance(weight, shape);
  RC_ASSERT(mapping.has_value());
  for (std::size_t row = 0; row < 2; ++row) {
    std::vector<std::int32_t> node_of_group(groups, -1);
    for (std::size_t e = 0; e < experts; ++e) {
      const auto copies = static_cast<std::size_t>(mapping->logcnt[row * experts + e]);
      RC_ASSERT(copies >= 1u && copies <= mapping->max_copies);
      for (std::size_t c = 0; c < mapping->max_copies; ++c) {
        const std::int32_t slot = mapping->log2phy[(row * experts + e) * mapping->max_copies + c];
        RC_ASSERT((slot >= 0) == (c < copies));
        if (slot < 0) continue;
        RC_ASSERT(mapping->phy2log[row * shape.replicas + static_cast<std::size_t>(slot)] ==
                  static_cast<std::int32_t>(e));
        const auto node =
            static_cast<std::int32_t>(static_cast<std::size_t>(slot) / (shape.replicas / nodes));
        std::int32_t& of_group = node_of_group[e / (experts / groups)];
        RC_ASSERT(of_group == -1 || of_group == node);
        of_group = node;
      }
    }
  }
}

TEST(Eplb, MayPutTwoCopiesOfAnExpertOnOneGpu) {
  const auto mapping =
      rebalance(std::vector<float>{8, 0}, {.layers = 1, .experts = 2, .replicas = 4, .gpus = 2});
  ASSERT_TRUE(mapping);
  EXPECT_EQ(mapping->phy2log, (std::vector<std::int32_t>{0, 0, 0, 1}));
}

TEST(Eplb, RefusesWhatTheReferenceAssertsAndLoadsThatAreNone) {
  const std::vector<float> weight(12, 1);
  const auto expect = [&](std::span<const float> loads, const Shape& shape, const std::string& part) {
    const auto mapping = rebalance(loads, shape);
    ASSERT_FALSE(mapping) << part;
    EXPECT_EQ(mapping.error().kind, ErrorKind::kBadInput);
    EXPECT_NE(mapping.error().message.find(part), std::string::npos) << mapping.error().message;
  };
  const Shape good{.layers = 1, .experts = 12, .replicas = 16, .groups = 4, .nodes = 2, .gpus = 8};
  ASSERT_TRUE(rebalance(weight, good));
  Shape bad = good;
  bad.layers = 2;
  expect(weight, bad, "12 weights, expected 2 layers x 12 experts");
  bad = good;
  bad.groups = 5;
  expect(weight, bad, "12 experts in 5 groups");
  bad = good;
  bad.gpus = 7;
  expect(weight, bad, "16 slots on 7 GPUs of 2 nodes");
  bad = good;
  bad.replicas = 8;
  expect(weight, bad, "8 slots for 12 experts");
  for (const float load :
       {-1.0f, std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    std::vector<float> odd = weight;
    odd[5] = load;
    expect(odd, good, "layer row 0 expert 5");
  }
}

}  // namespace
}  // namespace moesaic::placement
