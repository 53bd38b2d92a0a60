#include "traffic/flows.hpp"

#include <algorithm>
#include <numeric>

#include "core/random.hpp"

namespace moesaic::traffic {
namespace {

constexpr ExpertId kE0{0}, kE1{1}, kE2{2}, kE3{3};

TEST(Flows, AreWhatOneFindsByHand) {
  // 2 nodes x 2 GPUs, expert e on GPU e. One token at home on GPU 0 wants experts 1, 2, 3.
  const Topology topology{.nodes = 2, .gpus_per_node = 2};
  const std::vector<ExpertId> slots = {kE0, kE1, kE2, kE3}, experts = {kE1, kE2, kE3};
  const std::vector<Segment> segments = {{.home = HomeId(0), .count = 1}};
  const StepFlows flows =
      step_flows({LayerId(0), 3, experts, segments}, topology, 4, slots, {}, {.count = 1, .of_token = {0}});
  // dedup: 0 -> 1 over NVLink; 0 -> 2 over RDMA, and on from there to 3 over NVLink.
  const std::vector<cost::GpuWork> dedup = {
      {.node_out = 1, .gpu_out = 1},
      {.gpu_in = 1, .experts = 1, .rows = 1},
      {.node_in = 1, .gpu_out = 1, .experts = 1, .rows = 1},
      {.gpu_in = 1, .experts = 1, .rows = 1},
  };
  EXPECT_EQ(flows.dedup, dedup);
  // per-expert: a row each, straight from GPU 0.
  const std::vector<cost::GpuWork> per_expert = {
      {.node_out = 2, .gpu_out = 1},
      {.gpu_in = 1, .experts = 1, .rows = 1},
      {.node_in = 1, .experts = 1, .rows = 1},
      {.node_in = 1, .experts = 1, .rows = 1},
  };
  EXPECT_EQ(flows.per_expert, per_expert);
}

TEST(Flows, EvenStepsInterleaveRequestsAndKeepTheSharesOfHomes) {
  // Home 0 runs requests of 3 and 1 tokens, home 1 one of 5: two steps of 4 leave one token of each over.
  const std::vector<Segment> segments = {{.home = HomeId(0), .begin = 0, .count = 3},
                                         {.home = HomeId(1), .begin = 3, .count = 5},
                                         {.home = HomeId(0), .begin = 8, .count = 1}};
  const Steps steps = make_even_steps(segments, 2, 4);
  EXPECT_EQ(steps.count, 2u);
  EXPECT_EQ(steps.of_token, (std::vector<std::uint32_t>{0, 1, kNoStep, 0, 0, 1, 1, kNoStep, 0}));
  EXPECT_EQ(make_even_steps(segments, 2, 10).count, 0u);
  EXPECT_EQ(make_even_steps(segments, 3, 9).count, 1u);  // an idle home is no obstacle
}

struct Case {
  Topology topology;
  std::size_t experts = 0, k = 0;
  std::vector<ExpertId> slots, chosen;
  std::vector<Segment> segments;
  Objective objective;
};

Case random_case(std::uint64_t seed) {
  Pcg32 random(seed);
  Case c{
      .topology = {.nodes = 1 + random.below(4), .gpus_per_node = 1 + random.below(3)},
      .experts = 1 + random.below(9),
      .k = 0,
      .slots = {},
      .chosen = {},
      .segments = {},
      .objective = {.rule = dispatch::kRules[random.below(5)],
                    .attention = random.below(2) == 1 ? Attention::kTensorParallel : Attention::kDataParallel,
                    .seed = seed}};
  c.k = 1 + random.below(static_cast<std::uint32_t>(c.experts));
  const std::size_t gpus = c.topology.gpus(), per_gpu = (c.experts + gpus - 1) / gpus + random.below(3);
  for (std::size_t s = 0; s < gpus * per_gpu; ++s) {
    c.slots.push_back(ExpertId(s < c.experts ? s : random.below(static_cast<std::uint32_t>(c.experts))));
  }
  shuffle(std::span(c.slots), random);
  const auto homes = static_cast<std::uint32_t>(c.topology.homes(c.objective.attention));
  const std::uint32_t requests = 1 + random.below(24);
  std::size_t begin = 0;
  for (std::uint32_t r = 0; r < requests; ++r) {
    c.segments.push_back({.request = r,
                          .home = HomeId(r < homes ? r : random.below(homes)),
                          .position = random.below(9),
                          .begin = begin,
                          .count = random.below(9)});
    begin += c.segments.back().count;
  }
  std::vector<ExpertId> all(c.experts);
  for (std::size_t e = 0; e < c.experts; ++e) all[e] = ExpertId(e);
  for (std::size_t t = 0; t < begin; ++t) {
    shuffle(std::span(all), random);
    c.chosen.insert(c.chosen.end(), all.begin(), all.begin() + static_cast<std::ptrdiff_t>(c.k));
    if (random.below(10) == 0) c.chosen.back() = kMissingExpert;
  }
  return c;
}

std::int64_t sum(const std::vector<cost::GpuWork>& work, std::int64_t cost::GpuWork::* count) {
  return std::accumulate(work.begin(), work.end(), std::int64_t{0},
                         [&](std::int64_t so_far, const cost::GpuWork& gpu) { return so_far + gpu.*count; });
}

RC_GTEST_PROP(Flows, AddUpToTheReferenceObjective, (std::uint64_t seed)) {
  const Case c = random_case(seed);
  const LayerTokens layer{LayerId(3), c.k, c.chosen, c.segments};
  const Steps steps = make_steps(c.segments, c.topology.homes(c.objective.attention), 2);
  const StepFlows flows = step_flows(layer, c.topology, c.experts, c.slots, c.objective, steps);
  const LayerTraffic reference = score_layer(layer, c.topology, c.experts, c.slots, c.objective, &steps);
  using cost::GpuWork;
  RC_ASSERT(sum(flows.dedup, &GpuWork::node_out) == reference.dedup.node);
  RC_ASSERT(sum(flows.dedup, &GpuWork::node_in) == reference.dedup.node);
  RC_ASSERT(sum(flows.dedup, &GpuWork::gpu_out) == reference.dedup.gpu);
  RC_ASSERT(sum(flows.dedup, &GpuWork::gpu_in) == reference.dedup.gpu);
  RC_ASSERT(sum(flows.per_expert, &GpuWork::node_out) == reference.per_expert.node);
  RC_ASSERT(sum(flows.per_expert, &GpuWork::node_in) == reference.per_expert.node);
  RC_ASSERT(sum(flows.per_expert, &GpuWork::gpu_out) == reference.per_expert.gpu);
  RC_ASSERT(sum(flows.per_expert, &GpuWork::gpu_in) == reference.per_expert.gpu);
  RC_ASSERT(sum(flows.per_expert, &GpuWork::rows) == reference.rows);
  RC_ASSERT(sum(flows.dedup, &GpuWork::experts) == reference.activated_slots);
  for (std::size_t gpu = 0; gpu < c.topology.gpus(); ++gpu) {
    std::int64_t rows = 0;
    for (std::size_t s = 0; s < steps.count; ++s) rows += flows.dedup[s * c.topology.gpus() + gpu].rows;
    RC_ASSERT(rows == reference.gpu_rows[gpu]);
  }
}

RC_GTEST_PROP(Flows, EvenStepsGiveEveryHomeItsShareOfEachInOrder, (std::uint64_t seed)) {
  const Case c = random_case(seed);
  const std::size_t homes = c.topology.homes(c.objective.attention), length = 1 + seed % 7;
  const Steps steps = make_even_steps(c.segments, homes, length);
  std::vector<std::size_t> held(homes), in_step(homes * steps.count);
  std::size_t tokens = 0, timed = 0;
  for (const Segment& segment : c.segments) {
    held[index(segment.home)] += segment.count;
    tokens += segment.count;
    for (std::size_t j = 0; j < segment.count; ++j) {
      const std::uint32_t step = steps.of_token[segment.begin + j];
      if (j > 0) RC_ASSERT(steps.of_token[segment.begin + j - 1] <= step);
      if (step == kNoStep) continue;
      ++in_step.at(step * homes + index(segment.home));
      ++timed;
    }
  }
  RC_ASSERT(steps.count == tokens / length);
  RC_ASSERT(timed <= steps.count * length);
  RC_ASSERT(timed + homes > steps.count * length);  // less than a token a home is lost to rounding
  for (std::size_t at = 0; at < in_step.size(); ++at) {
    const double share = static_cast<double>(held[at % homes] * length) / static_cast<double>(tokens);
    RC_ASSERT(static_cast<double>(in_step[at]) < share + 1);
    RC_ASSERT(static_cast<double>(in_step[at]) > share - 2);
  }
}

}  // namespace
}  // namespace moesaic::traffic
