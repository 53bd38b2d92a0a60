#include "core/json.hpp"

#include <cmath>
#include <limits>

namespace moesaic {
namespace {

TEST(Json, WritesSortedKeysShortestDoublesAndNullForNan) {
  Json json;
  json["b"] = 0.1;
  json["a"] = Json::Array{1, 2u, std::nan(""), 1e300, -5};
  json["c"]["text"] = "a\"\\\n\x01";
  EXPECT_EQ(json.dump(), R"({"a":[1,2,null,1e+300,-5],"b":0.1,"c":{"text":"a\"\\\n\u0001"}})");
}

TEST(Json, PrettyFormKeepsPlainArraysOnOneLine) {
  Json json;
  json["a"] = Json::Array{1, 2};
  json["b"] = Json::Array{Json(Json::Array{1}), Json(Json::Object{})};
  EXPECT_EQ(json.dump(1), "{\n \"a\": [1, 2],\n \"b\": [\n  [1],\n  {}\n ]\n}");
}

TEST(Json, NumbersOfOneValueAreEqualWhateverTheyWereMadeFrom) {
  EXPECT_EQ(Json(1), Json(1u));
  EXPECT_NE(Json(1), Json(1.0));
  std::uint64_t number = 0;
  EXPECT_TRUE(Json(3.0).to_uint(number));
  EXPECT_EQ(number, 3u);
  EXPECT_FALSE(Json(-1).to_uint(number));
  EXPECT_FALSE(Json(2.5).to_uint(number));
  EXPECT_TRUE(Json(std::numeric_limits<std::uint64_t>::max()).to_uint(number));
  EXPECT_EQ(number, std::numeric_limits<std::uint64_t>::max());
}

}  // namespace
}  // namespace moesaic
