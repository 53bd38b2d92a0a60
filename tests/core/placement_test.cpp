#include "core/placement.hpp"

namespace moesaic {
namespace {

std::vector<ExpertId> ids(std::initializer_list<int> list) {
  std::vector<ExpertId> out;
  for (const int id : list) out.push_back(ExpertId(id));
  return out;
}

TEST(Placement, KnowsItsSlotsAndWhereTheyAre) {
  const auto placement = Placement::make({.nodes = 2, .gpus_per_node = 1}, {LayerId(3), LayerId(5)}, 3, 2,
                                         ids({0, 1, 2, 0, 2, 1, 0, 1}));
  ASSERT_TRUE(placement) << placement.error().message;
  EXPECT_EQ(placement->slots(), 4u);
  EXPECT_EQ(placement->extra_slots(), 1u);
  EXPECT_EQ(placement->layer(1)[0], ExpertId(2));
  EXPECT_EQ(placement->gpu_of(SlotId(2)), GpuId(1));
}

TEST(Placement, RefusesWhatNoEngineCouldRun) {
  const Topology two{.nodes = 2, .gpus_per_node = 1};
  const auto says = [](const Result<Placement>& placement, const char* part) {
    ASSERT_FALSE(placement);
    EXPECT_NE(placement.error().message.find(part), std::string::npos) << placement.error().message;
  };
  says(Placement::make(two, {LayerId(3)}, 2, 1, ids({0, 0})), "layer 3 has no slot for expert 1");
  says(Placement::make(two, {LayerId(3)}, 2, 1, ids({0, 2})), "holds expert 2, expected below 2");
  says(Placement::make(two, {LayerId(3)}, 2, 1, ids({0})), "expected 1 layers x 2 slots");
  says(Placement::make(two, {LayerId(3)}, 2, 0, {}), "0 slots a GPU");
  says(Placement::make({.nodes = 0}, {LayerId(3)}, 2, 1, ids({0, 1})), "0 nodes");
}

TEST(ModelShape, RefusesShapesNoModelHas) {
  const ModelShape good{
      .model = "m", .model_layers = 4, .layers = {LayerId(1), LayerId(3)}, .experts = 8, .top_k = 2};
  EXPECT_TRUE(validate(good));
  for (auto [change, part] : std::initializer_list<std::pair<void (*)(ModelShape&), const char*>>{
           {[](ModelShape& s) { s.experts = 0; }, "0 experts"},
           {[](ModelShape& s) { s.top_k = 9; }, "9 experts a token"},
           {[](ModelShape& s) { s.layers.clear(); }, "0 MoE layers"},
           {[](ModelShape& s) { s.layers = {LayerId(3), LayerId(1)}; }, "ascending"},
           {[](ModelShape& s) { s.model_layers = 3; }, "MoE layer 3"}}) {
    ModelShape shape = good;
    change(shape);
    const Status status = validate(shape);
    ASSERT_FALSE(status) << part;
    EXPECT_NE(status.error().message.find(part), std::string::npos) << status.error().message;
  }
}

}  // namespace
}  // namespace moesaic
