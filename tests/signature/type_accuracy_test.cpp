#include "signature/type_accuracy.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace moesaic::signature {
namespace {

TEST(TypeAccuracy, IsTheShareOfRequestsNearestToTheMeanOfTheirOwnKind) {
  const ModelShape shape{.model = "", .model_layers = 1, .layers = {LayerId{0}}, .experts = 3, .top_k = 1};
  const Space space = all_layers(shape, Transform::kCount);
  const std::vector<float> known{4, 0, 1, 3, 0, 0, 0, 5, 1};
  const std::vector<std::uint32_t> kinds{0, 0, 1};
  // The first two look like their kind, the third like the other one, the fourth of a kind nobody knows.
  const std::vector<float> unseen{9, 1, 0, 0, 2, 0, 0, 7, 1, 1, 0, 0};
  const std::vector<std::uint32_t> truth{0, 1, 0, 2};
  EXPECT_DOUBLE_EQ(type_accuracy(space, {{1, 3, known}, kinds}, {{1, 3, unseen}, truth}, 3), 0.5);
  EXPECT_DOUBLE_EQ(type_accuracy(space, {{1, 3, known}, kinds}, {{1, 3, {}}, {}}, 3), 0);
}

}  // namespace
}  // namespace moesaic::signature
