#include "placement/deepseek_vec.hpp"

#include <algorithm>
#include <limits>

#include "io/json.hpp"
#include "io/npz.hpp"
#include "placement/algorithms.hpp"
#include "placement/fake_demand.hpp"
#include "placement/windows.hpp"
#include "support/shared_data.hpp"

namespace moesaic::placement {
namespace {

struct Golden {
  std::string name;
  eplb::Shape shape;
  bool hierarchical = false;
  std::size_t windows = 0;
  std::vector<float> loads = {};
  std::vector<std::int64_t> phy2log = {}, log2phy = {}, logcnt = {};
};

Result<std::vector<Golden>> read_goldens() {
  const std::string folder = moesaic::testing::shared_data("golden/sglang-deepseek-vec");
  MOESAIC_ASSIGN(const Json cases, io::read_json(io::real_files(), folder + "/cases.json"));
  std::vector<Golden> goldens;
  for (const Json& one : *cases.find("cases")->as_array()) {
    const auto size = [&](std::string_view key) {
      std::uint64_t value = 0;
      one.find(key)->to_uint(value);
      return static_cast<std::size_t>(value);
    };
    Golden golden{.name = *one.find("name")->as_string(),
                  .shape = {.layers = size("layers"),
                            .experts = size("experts"),
                            .replicas = size("num_physical"),
                            .groups = size("num_groups"),
                            .nodes = size("num_nodes"),
                            .gpus = size("num_gpus")},
                  .hierarchical = *one.find("hierarchical")->as_bool(),
                  .windows = size("windows")};
    const std::string path = folder + "/" + golden.name + ".npz";
    MOESAIC_ASSIGN(const io::Npz npz, io::read_npz(io::real_files(), path));
    MOESAIC_ASSIGN(const std::vector<double> loads, io::to_double(*npz.find("tokens_per_expert"), path));
    golden.loads.assign(loads.begin(), loads.end());
    MOESAIC_ASSIGN(golden.phy2log, io::to_int64(*npz.find("physical_to_logical"), path));
    MOESAIC_ASSIGN(golden.log2phy, io::to_int64(*npz.find("logical_to_physical"), path));
    MOESAIC_ASSIGN(golden.logcnt, io::to_int64(*npz.find("logical_count"), path));
    goldens.push_back(std::move(golden));
  }
  return goldens;
}

TEST(DeepseekVec, EqualsTheReferenceElementByElementOnAllGoldenCases) {
  MOESAIC_NEEDS_SHARED("golden/sglang-deepseek-vec/cases.json");
  const auto goldens = read_goldens();
  ASSERT_TRUE(goldens) << goldens.error().message;
  EXPECT_EQ(goldens->size(), 4u);
  ThreadPool pool(2);
  for (const Golden& golden : *goldens) {
    for (ThreadPool* threads : {static_cast<ThreadPool*>(nullptr), &pool}) {
      const auto mapping =
          deepseek_vec::rebalance(golden.loads, golden.windows, golden.shape, golden.hierarchical, threads);
      ASSERT_TRUE(mapping) << golden.name << mapping.error().message;
      EXPECT_TRUE(std::ranges::equal(mapping->phy2log, golden.phy2log)) << golden.name;
      EXPECT_TRUE(std::ranges::equal(mapping->logcnt, golden.logcnt)) << golden.name;
      EXPECT_TRUE(std::ranges::equal(mapping->log2phy, golden.log2phy)) << golden.name;
    }
  }
}

TEST(DeepseekVec, SaysWhatDoesNotDivide) {
  const std::vector<float> loads(2 * 8, 1.0F);
  const eplb::Shape shape{.layers = 1, .experts = 8, .replicas = 9, .groups = 1, .nodes = 1, .gpus = 4};
  const auto uneven = deepseek_vec::rebalance(loads, 2, shape, false);
  ASSERT_FALSE(uneven);
  EXPECT_NE(uneven.error().message.find("slots must divide over the GPUs"), std::string::npos);
  const auto no_window = deepseek_vec::rebalance({}, 0, shape, false);
  EXPECT_FALSE(no_window);
}

TEST(DeepseekVec, RefusesALoadThatIsNoNumber) {
  std::vector<float> loads(8, 1.0F);
  loads[5] = std::numeric_limits<float>::quiet_NaN();
  const eplb::Shape shape{.layers = 1, .experts = 8, .replicas = 8, .groups = 1, .nodes = 1, .gpus = 4};
  const auto mapping = deepseek_vec::rebalance(loads, 1, shape, false);
  ASSERT_FALSE(mapping);
  EXPECT_NE(mapping.error().message.find("position 5"), std::string::npos);
}

TEST(DeepseekVec, ACopyGoesToTheExpertThatPeaksInMostWindows) {
  // Expert 0 has the largest sum, by one window; expert 1 sets the peak of the other three.
  const std::vector<float> loads = {100, 0, 0, 0, 0, 30, 0, 0, 0, 30, 0, 0, 0, 30, 0, 0};
  const eplb::Shape shape{.layers = 1, .experts = 4, .replicas = 5, .groups = 1, .nodes = 1, .gpus = 1};
  const auto mapping = deepseek_vec::rebalance(loads, 4, shape, false);
  ASSERT_TRUE(mapping) << mapping.error().message;
  EXPECT_EQ(mapping->logcnt, (std::vector<std::int32_t>{2, 1, 1, 1}));  // 50 saved against 45
  std::vector<float> lower = loads;
  lower[0] = 80;  // 40 against 45
  const auto other = deepseek_vec::rebalance(lower, 4, shape, false);
  ASSERT_TRUE(other) << other.error().message;
  EXPECT_EQ(other->logcnt, (std::vector<std::int32_t>{1, 2, 1, 1}));
}

TEST(Windows, CutTheRequestsInOrderAndSumToTheLoads) {
  std::vector<ExpertId> tokens;
  std::vector<HomeId> homes;
  for (std::size_t t = 0; t < 10; ++t) {
    tokens.push_back(ExpertId(t < 5 ? 0 : 2));
    homes.push_back(HomeId(0));
  }
  const testing::FakeDemand demand(2, 4, 1, tokens, homes);
  const auto loads = window_loads(demand, 2);
  ASSERT_TRUE(loads) << loads.error().message;
  EXPECT_EQ(loads->windows, 2u);
  EXPECT_EQ(loads->rows, (std::vector<float>{5, 0, 0, 0, 5, 0, 0, 0, 0, 0, 5, 0, 0, 0, 5, 0}));
}

TEST(Windows, CountsAloneAreOneWindow) {
  const testing::FakeDemand demand(1, 4, std::vector<double>{1, 2, 3, 4});
  const auto loads = window_loads(demand);
  ASSERT_TRUE(loads) << loads.error().message;
  EXPECT_EQ(loads->windows, 1u);
  EXPECT_EQ(loads->rows, (std::vector<float>{1, 2, 3, 4}));
}

}  // namespace
}  // namespace moesaic::placement
