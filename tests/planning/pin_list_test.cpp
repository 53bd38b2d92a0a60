#include "planning/pin_list.hpp"

namespace moesaic::planning {
namespace {

const ModelShape kShape{
    .model = "m", .model_layers = 4, .layers = {LayerId{1}, LayerId{3}}, .experts = 4, .top_k = 2};

TEST(PinList, ReadsLayersByModelIndexAndWritesWhatItReads) {
  const auto pins = parse_pin_file("# hot ones\n3:2:0\n\n *:1:1.1  # everywhere\r\n", kShape, "pins.txt");
  ASSERT_TRUE(pins) << pins.error().message;
  ASSERT_EQ(pins->size(), 3u);
  EXPECT_EQ((*pins)[0], (placement::Pin{.row = 1, .expert = ExpertId{2}, .node = 0}));
  EXPECT_EQ((*pins)[1], (placement::Pin{.row = 0, .expert = ExpertId{1}, .node = 1, .gpu = 1}));
  const Json texts = pins_json(*pins, kShape);
  EXPECT_EQ(texts.dump(), R"(["3:2:0","1:1:1.1","3:1:1.1"])");
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(parse_pin(*(*texts.as_array())[i].as_string(), kShape, "--pin")->at(0), (*pins)[i]);
  }
}

TEST(PinList, SaysWhereAndWhatIsWrong) {
  for (const char* text : {"", "3", "3:2", "3:2:", "3:2:0.", "3:2:0.1.1", "3:2:-1", "a:2:0", "3:*:0",
                           "3:2:65535", "70000:2:0", "3:2:0 1"}) {
    const auto pins = parse_pin(text, kShape, "--pin");
    ASSERT_FALSE(pins) << text;
    EXPECT_EQ(pins.error().kind, ErrorKind::kBadInput);
    EXPECT_NE(pins.error().message.find("expected LAYER:EXPERT:NODE"), std::string::npos) << text;
  }
  const auto dense = parse_pin_file("1:0:0\n2:0:0\n", kShape, "pins.txt");
  ASSERT_FALSE(dense);
  EXPECT_NE(dense.error().message.find("pins.txt, line 2"), std::string::npos) << dense.error().message;
  EXPECT_NE(dense.error().message.find("layer 2 of the model has no experts"), std::string::npos);
}

TEST(PinList, IsBounded) {
  std::string text;
  for (int i = 0; i < 500'001; ++i) text += "*:1:1\n";
  const auto pins = parse_pin_file(text, kShape, "pins.txt");
  ASSERT_FALSE(pins);
  EXPECT_NE(pins.error().message.find("more than 1000000 pins"), std::string::npos) << pins.error().message;
}

}  // namespace
}  // namespace moesaic::planning
