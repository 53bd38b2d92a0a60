#include "core/topology.hpp"

namespace moesaic {
namespace {

Result<Topology> left(std::vector<std::uint32_t> missing) {
  Cluster cluster{.whole = {.nodes = 3, .gpus_per_node = 2}, .missing = {}};
  for (const std::uint32_t gpu : missing) cluster.missing.push_back(GpuId(gpu));
  return remaining(cluster);
}

void says(std::vector<std::uint32_t> missing, const char* part) {
  const auto topology = left(std::move(missing));
  ASSERT_FALSE(topology);
  EXPECT_EQ(topology.error().kind, ErrorKind::kBadInput);
  EXPECT_NE(topology.error().message.find(part), std::string::npos) << topology.error().message;
}

TEST(Topology, WithoutMissingGpusIsSmallerAndEven) {
  EXPECT_EQ(left({}), (Topology{.nodes = 3, .gpus_per_node = 2}));
  EXPECT_EQ(left({2, 3}), (Topology{.nodes = 2, .gpus_per_node = 2}));
  EXPECT_EQ(left({0, 3, 4}), (Topology{.nodes = 3, .gpus_per_node = 1}));
  EXPECT_EQ(left({0, 1, 3, 4}), (Topology{.nodes = 2, .gpus_per_node = 1}));
}

TEST(Topology, ThatWouldBeUnevenSaysWhatElseToLeaveOut) {
  says({3}, "leave out as many on every node (--missing-gpus 1,3,5) or whole nodes (--missing-gpus 2,3)");
  says({0, 1, 4}, "(--missing-gpus 0,1,3,4) or whole nodes (--missing-gpus 0,1,4,5)");
  EXPECT_TRUE(left({1, 3, 5}));  // what is proposed works
  EXPECT_TRUE(left({0, 1, 3, 4}));
  EXPECT_TRUE(left({0, 1, 4, 5}));
}

TEST(Topology, RefusesMissingGpusThatAreNotThere) {
  says({6}, "expected ids below 6");
  says({1, 1}, "each once");
  says({0, 1, 2, 3, 4, 5}, "leave none");
}

}  // namespace
}  // namespace moesaic
