#include "io/json.hpp"

namespace moesaic::io {
namespace {

TEST(ParseJson, ReadsWhatDumpWrote) {
  const std::string text = R"({"a":[1,-2,0.5,"x",null,true],"b":{"c":18446744073709551615}})";
  const auto json = parse_json(text, "test");
  ASSERT_TRUE(json) << json.error().message;
  EXPECT_EQ(json->dump(), text);
}

TEST(ParseJson, SaysWhereAndWhatForBadText) {
  const auto expect = [](const std::string& text, const std::string& part) {
    const auto json = parse_json(text, "plan.json");
    ASSERT_FALSE(json) << text;
    EXPECT_EQ(json.error().kind, ErrorKind::kBadInput);
    EXPECT_NE(json.error().message.find("plan.json"), std::string::npos);
    EXPECT_NE(json.error().message.find(part), std::string::npos) << json.error().message;
  };
  expect("", "byte");
  expect("{\"a\":1", "byte 7");
  expect("{\"a\":1,\"a\":2}", "key \"a\" twice");
  expect("[1] x", "byte 5");
  expect("\"\xff\"", "byte");
  expect(std::string(100'000, '['), "nested deeper");
}

}  // namespace
}  // namespace moesaic::io
