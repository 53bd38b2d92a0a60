#include "artifact/router.hpp"

#include <bit>
#include <cmath>

#include "artifact/assigner_json.hpp"
#include "core/limits.hpp"
#include "io/json.hpp"
#include "support/paths.hpp"
#include "support/temporary_folder.hpp"

namespace moesaic::artifact {
namespace {

Router sample_router() {
  Router router{.made_by = "moesaic 0.1.0",
                .shape = {.model = "sample",
                          .model_layers = 3,
                          .layers = {LayerId(0), LayerId(2)},
                          .experts = 2,
                          .top_k = 1},
                .assigner = {.space = {.layers = {LayerId(0), LayerId(2)},
                                       .rows = {0, 1},
                                       .experts = 2,
                                       .transform = signature::Transform::kCount},
                             .prototypes = {0.6f, 0, 0, 0.8f, 0, 1, 0, 0},
                             .capacities = {0.5, 0.5},
                             .target = signature::Target::kDecoder}};
  router.source.trace_digest = "ab";
  router.seed = 3;
  router.notes = {"Two decoders."};
  router.score["similarity"] = 0.5;
  return router;
}

TEST(Router, GoesThroughAFileByteByByte) {
  const moesaic::testing::TemporaryFolder folder;
  const std::string path = folder / "router.json";
  ASSERT_TRUE(write_router(io::real_files(), path, sample_router(), false));
  EXPECT_FALSE(write_router(io::real_files(), path, sample_router(), false));
  const auto read = read_router(io::real_files(), path);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, sample_router());
  EXPECT_EQ(to_json(*read), to_json(sample_router()));
}

Router prompted_router() {
  Router router = sample_router();
  router.prompt_model = {.features = {.grams = 3, .buckets = 4, .max_bytes = 100},
                         .bias = {0.25f, 0.75f},
                         .scale = {0.125f, 0},
                         .weights = {-128, 127, 0, -1, 1, 2, 3, 4},
                         .cells = 4,
                         .usage = {0, 1, 0.5f, 0.5f, 0.1f, 0.9f, 1, 0}};
  return router;
}

TEST(Router, KeepsItsPromptModel) {
  const Router router = prompted_router();
  const auto read = parse_router(to_json(router), "r");
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, router);
  EXPECT_EQ(to_json(*read), to_json(router));
  EXPECT_EQ(read->prompt_model->scores("any"), router.prompt_model->scores("any"));
}

TEST(Router, APromptModelThatDoesNotFitIsRefused) {
  const auto refused = [](std::string_view from, std::string_view to) {
    std::string text = to_json(prompted_router());
    const std::size_t at = text.find(from);
    EXPECT_NE(at, text.npos) << from;
    text.replace(at, from.size(), to);
    const auto read = parse_router(text, "r.json");
    return read ? std::string() : read.error().message;
  };
  EXPECT_NE(refused("\"grams\": 3", "\"grams\": 9").find("prompt_model.grams"), std::string::npos);
  EXPECT_NE(refused("[0.25, 0.75]", "[0.25]").find("prompt_model.bias"), std::string::npos)
      << to_json(prompted_router());
  EXPECT_NE(refused("gH8A/w==", "gH8A").find("base64 of 4 bytes"), std::string::npos);
  EXPECT_NE(refused("gH8A/w==", "gH8A/w").find("base64 of 4 bytes"), std::string::npos);
  EXPECT_NE(refused("\"buckets\": 4", "\"buckets\": 5").find("prompt_model.weights"), std::string::npos);
  EXPECT_NE(refused("[0, 1, 0.5, 0.5]", "[0, 1, 0.5, 7]").find("outside 0 to 1"), std::string::npos);
  EXPECT_NE(refused("\"max_bytes\"", "\"most_bytes\"").find("max_bytes"), std::string::npos);
}

TEST(Router, WhatWouldBeTooLargeToReadIsNotWritten) {
  const moesaic::testing::TemporaryFolder folder;
  Router router = sample_router();
  router.notes = {std::string(limits::kMaxConfigBytes, 'x')};
  const Status written = write_router(io::real_files(), folder / "router.json", router, false);
  ASSERT_FALSE(written);
  EXPECT_NE(written.error().message.find("fewer layers"), std::string::npos);
  EXPECT_FALSE(io::real_files().status(folder / "router.json")->exists);
}

TEST(Router, TheKeptFixtureOfVersion1StillReads) {
  const std::string path = moesaic::testing::source_path("tests/data/artifact/router-v1.json");
  const auto text = io::read_file(io::real_files(), path, 1 << 20);
  ASSERT_TRUE(text) << text.error().message;
  const auto read = parse_router(*text, path);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, sample_router());
  EXPECT_EQ(to_json(*read), *text);
}

TEST(Router, RefusesPlansAndWrongValuesWithTheirKey) {
  const auto refused = [](const std::function<void(Json&)>& change, const std::string& part) {
    auto json = io::parse_json(to_json(sample_router()), "sample");
    change(*json);
    const auto read = parse_router(json->dump(), "bad.json");
    ASSERT_FALSE(read) << part;
    EXPECT_NE(read.error().message.find("bad.json: " + part), std::string::npos) << read.error().message;
  };
  refused([](Json& j) { j["schema"] = "moesaic.plan/1"; }, "schema: found \"moesaic.plan/1\"");
  refused([](Json& j) { j["assigner"]["target"] = "home"; },
          "assigner.target: found \"home\", expected decoder");
  refused([](Json& j) { j["seed"] = -1; }, "seed: found -1");
  refused([](Json& j) { j["assigner"]["colour"] = 1; }, "assigner.colour: unknown key");
  refused([](Json& j) { j["model"]["top_k"] = 9; }, "model: model shape: 9 experts a token");
  for (const char* key : {"schema", "made_by", "model", "assigner", "source", "seed", "notes", "score"}) {
    refused([&](Json& j) { j.as_object()->erase(key); }, std::string(key) + ": found nothing");
  }
}

RC_GTEST_PROP(ShortestDecimal, ReadsBackAsTheSameFloatAndIsShort, ()) {
  const auto bits = *rc::gen::arbitrary<std::uint32_t>();
  const auto value = std::bit_cast<float>(bits);
  RC_PRE(std::isfinite(value));
  const double decimal = shortest_decimal(value);
  RC_ASSERT(static_cast<float>(decimal) == value);
  // Nine significant digits, sign, point, exponent.
  RC_ASSERT(moesaic::shortest_double(decimal).size() <= 26u);
}

TEST(ShortestDecimal, WritesATenthAsATenth) {
  EXPECT_EQ(moesaic::shortest_double(shortest_decimal(0.1f)), "0.1");
}

}  // namespace
}  // namespace moesaic::artifact
