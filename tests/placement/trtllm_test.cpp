#include "placement/trtllm.hpp"

#include <algorithm>

#include "io/json.hpp"
#include "io/npz.hpp"
#include "placement/algorithms.hpp"
#include "placement/fake_demand.hpp"
#include "support/shared_data.hpp"

namespace moesaic::placement {
namespace {

TEST(Trtllm, EqualsTheReferenceElementByElementOnAllGoldenCases) {
  MOESAIC_NEEDS_SHARED("golden/tensorrt-llm/cases.json");
  const std::string folder = moesaic::testing::shared_data("golden/tensorrt-llm");
  const auto cases = io::read_json(io::real_files(), folder + "/cases.json");
  ASSERT_TRUE(cases) << cases.error().message;
  std::size_t count = 0;
  for (const Json& one : *cases->find("cases")->as_array()) {
    const std::string& name = *one.find("name")->as_string();
    std::uint64_t layers = 0, experts = 0, slots = 0, ranks = 0;
    one.find("layers")->to_uint(layers);
    one.find("experts")->to_uint(experts);
    one.find("num_slots")->to_uint(slots);
    one.find("ep_size")->to_uint(ranks);
    const std::string path = folder + "/" + name + ".npz";
    const auto npz = io::read_npz(io::real_files(), path);
    ASSERT_TRUE(npz) << npz.error().message;
    const auto load = io::to_double(*npz->find("load"), path);
    const auto copies = io::to_int64(*npz->find("replica_count"), path);
    const auto expected = io::to_int64(*npz->find("slots"), path);
    ASSERT_TRUE(load && copies && expected) << path;
    const testing::FakeDemand demand(layers, experts, *load);
    const auto solution =
        trtllm_algorithm().place({.demand = demand,
                                  .topology = {.nodes = 1, .gpus_per_node = static_cast<std::size_t>(ranks)},
                                  .slots_per_gpu = slots / ranks,
                                  .objective = {}});
    ASSERT_TRUE(solution) << solution.error().message;
    EXPECT_TRUE(std::ranges::equal(solution->placement.all_slots(), *expected, {}, [](ExpertId e) {
      return std::int64_t(e);
    })) << name;
    for (std::size_t row = 0; row < layers; ++row) {
      const std::vector<float> loads(load->begin() + static_cast<std::ptrdiff_t>(row * experts),
                                     load->begin() + static_cast<std::ptrdiff_t>((row + 1) * experts));
      EXPECT_TRUE(std::ranges::equal(trtllm::replicate(loads, slots),
                                     std::span(*copies).subspan(row * experts, experts)))
          << name << " layer " << row;
    }
    ++count;
  }
  EXPECT_EQ(count, 5u);
}

TEST(Trtllm, TiesGiveTheCopyToTheLargerId) {
  EXPECT_EQ(trtllm::replicate(std::vector<float>{5, 5, 5}, 4), (std::vector<std::size_t>{1, 1, 2}));
}

TEST(Trtllm, WithoutLoadCopiesAreEven) {
  EXPECT_EQ(trtllm::replicate(std::vector<float>{0, 0, 0}, 5), (std::vector<std::size_t>{2, 2, 1}));
}

TEST(Trtllm, TheRestGoesOnTopOfWhatRanksCarry) {
  const std::vector<float> loads = {10, 4, 3, 2};
  std::vector<ExpertId> slots = {ExpertId(0), kMissingExpert, kMissingExpert, kMissingExpert};
  trtllm::place_rest(loads, std::vector<std::size_t>{1, 1, 1, 1}, std::vector<std::size_t>{0, 1, 1, 1}, 2,
                     slots);
  EXPECT_EQ(testing::ids(slots), (std::vector<int>{0, 3, 1, 2}));
}

}  // namespace
}  // namespace moesaic::placement
