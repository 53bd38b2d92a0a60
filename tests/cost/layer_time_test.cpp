#include "cost/layer_time.hpp"

#include <array>
#include <vector>

namespace moesaic::cost {
namespace {

using namespace std::chrono_literals;

/// Round numbers: RDMA 10 us + 1 byte/ns, NVLink 1 us + 10 bytes/ns.
LayerCosts round_costs() {
  return {.node = {10'000ns, 1},
          .gpu = {1'000ns, 10},
          .crosses_nodes = true,
          .crosses_gpus = true,
          .dispatch_bytes = 1'000,
          .combine_bytes = 2'000,
          .expert_bytes = 6'000,
          .row_flops = 12'000,
          .memory_bytes_per_nanosecond = 3,
          .flops_per_nanosecond = 600};
}

TEST(LayerTime, IsWhatOneFindsByHand) {
  const std::vector<GpuWork> gpus = {
      {.node_out = 4, .node_in = 1, .gpu_out = 0, .gpu_in = 2, .experts = 2, .rows = 3},
      {.node_out = 1, .node_in = 5, .gpu_out = 2, .gpu_in = 0, .experts = 1, .rows = 9}};
  // Dispatch: RDMA 10 us + 5 x 1000 B at 1 B/ns = 15 us; NVLink 1 us + 2 x 1000 B at 10 B/ns = 1.2 us.
  // Experts: 2 x 6000 B at 3 B/ns = 4 us; 9 rows x 12000 flops at 600/ns = 0.18 us.
  // Combine: RDMA 10 us + 5 x 2000 B = 20 us.
  EXPECT_EQ(layer_time(gpus, round_costs()),
            (LayerTime{.dispatch = 15'000ns, .experts = 4'000ns, .combine = 20'000ns}));
  EXPECT_EQ(layer_time(gpus, round_costs()).total(), 39'000ns);
  // Evenly: 6 copies in are 3 a GPU, 3 experts are 1.5.
  EXPECT_EQ(balanced_layer_time(gpus, round_costs()),
            (LayerTime{.dispatch = 13'000ns, .experts = 3'000ns, .combine = 16'000ns}));
}

TEST(LayerTime, RowsDecideWhereTheyOutweighTheWeights) {
  const std::vector<GpuWork> gpus = {{.experts = 1, .rows = 1'000}};
  EXPECT_EQ(layer_time(gpus, round_costs()).experts, 20'000ns);
}

TEST(LayerTime, LinksThatATopologyLacksCostNothing) {
  LayerCosts costs = round_costs();
  const std::vector<GpuWork> idle(2);
  EXPECT_EQ(layer_time(idle, costs).dispatch, 10'000ns);  // the exchange starts whatever it carries
  costs.crosses_nodes = false;
  EXPECT_EQ(layer_time(idle, costs).dispatch, 1'000ns);
  costs.crosses_gpus = false;
  EXPECT_EQ(layer_time(idle, costs), LayerTime{});
  EXPECT_EQ(layer_time({}, round_costs()), LayerTime{});
  EXPECT_EQ(balanced_layer_time({}, round_costs()), LayerTime{});
}

TEST(LayerTime, CostsAreThoseOfTheModelAndTheHardware) {
  const ModelPreset& model = **find_preset("deepseek-v3");
  const HardwarePreset& h800 = **find_hardware("h800");
  const LayerCosts costs = layer_costs(model, h800, {.nodes = 2, .gpus_per_node = 8}, 0.5);
  EXPECT_EQ(costs.node, h800.rdma);
  EXPECT_EQ(costs.gpu, h800.nvlink);
  EXPECT_EQ(costs.dispatch_bytes, 7'392);
  EXPECT_EQ(costs.combine_bytes, 14'336);
  EXPECT_EQ(costs.expert_bytes, expert_bytes(model));
  EXPECT_EQ(costs.row_flops, 2 * 3 * 7168 * 2048);
  EXPECT_DOUBLE_EQ(costs.memory_bytes_per_nanosecond, 1'675);
  EXPECT_DOUBLE_EQ(costs.flops_per_nanosecond, 989'000);  // fp8: twice the bf16 rate, half of it reached
  EXPECT_DOUBLE_EQ(layer_costs(**find_preset("qwen3-30b-a3b"), h800, {}, 1).flops_per_nanosecond, 989'000);
  EXPECT_FALSE(layer_costs(model, h800, {.nodes = 1, .gpus_per_node = 8}, 1).crosses_nodes);
  EXPECT_FALSE(layer_costs(model, h800, {.nodes = 8, .gpus_per_node = 1}, 1).crosses_gpus);
}

RC_GTEST_PROP(LayerTime, NeverFallsWhenACountOrAPriceGrowsAndIsNeverBelowTheBalancedOne, ()) {
  const auto count = [] { return *rc::gen::inRange<std::int64_t>(0, 5'000); };
  std::vector<GpuWork> gpus(*rc::gen::inRange<std::size_t>(1, 9));
  for (GpuWork& gpu : gpus) gpu = {count(), count(), count(), count(), count(), count()};
  LayerCosts costs = layer_costs(**find_preset("gpt-oss-20b"), **find_hardware("h20"),
                                 {.nodes = 1 + gpus.size() % 2, .gpus_per_node = 2}, 0.8);
  const LayerTime before = layer_time(gpus, costs), balanced = balanced_layer_time(gpus, costs);
  RC_ASSERT(balanced.dispatch <= before.dispatch);
  RC_ASSERT(balanced.experts <= before.experts);
  RC_ASSERT(balanced.combine <= before.combine);

  const std::array counts = {&GpuWork::node_out, &GpuWork::node_in, &GpuWork::gpu_out,
                             &GpuWork::gpu_in,   &GpuWork::experts, &GpuWork::rows};
  std::vector<GpuWork> more = gpus;
  more[*rc::gen::inRange<std::size_t>(0, gpus.size())].*
      counts.at(*rc::gen::inRange<std::size_t>(0, counts.size())) += 1 + count();
  const LayerTime after = layer_time(more, costs);
  RC_ASSERT(after.dispatch >= before.dispatch);
  RC_ASSERT(after.experts >= before.experts);
  RC_ASSERT(after.combine >= before.combine);

  costs.dispatch_bytes += 1 + count();
  RC_ASSERT(layer_time(gpus, costs).total() >= before.total());
}

}  // namespace
}  // namespace moesaic::cost
