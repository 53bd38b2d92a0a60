#include "artifact/eldr.hpp"

#include <algorithm>
#include <functional>

#include "io/json.hpp"

namespace moesaic::artifact {
namespace {

ModelShape shape() {
  return {.model = "m", .model_layers = 5, .layers = {LayerId(1), LayerId(3)}, .experts = 2, .top_k = 1};
}

Router router(signature::Transform transform, std::vector<std::uint32_t> rows, std::vector<float> idf = {}) {
  Router out{.shape = shape(), .assigner = {.target = signature::Target::kDecoder}};
  signature::Space& space = out.assigner.space;
  space.rows = std::move(rows);
  for (const std::uint32_t row : space.rows) space.layers.push_back(out.shape.layers[row]);
  space.experts = 2;
  space.transform = transform;
  space.idf = std::move(idf);
  for (std::size_t t = 0; t < 2; ++t) {
    for (std::size_t i = 0; i < space.width(); ++i) out.assigner.prototypes.push_back(i == t ? 1.0f : 0.0f);
  }
  out.assigner.capacities = {0.5, 0.5};
  out.seed = 9;
  return out;
}

// By hand from serving/clustering.py: layers are counted among the MoE layers, idf is flat.
const char* const kFile =
    "{\"L\":2,\"algo\":\"balanced_spherical_kmeans\",\"centroids\":[[1,0],[0,1]],\"e\":2,\"k\":2,"
    "\"layer_mask\":[1],\"model\":\"m\",\"seed\":9,\"sig_dtype\":\"<i2\",\"sig_idf\":[0.5,0.1],"
    "\"variant\":\"count_idf\"}\n";

TEST(Eldr, TheFileEqualsTheOneWrittenByHandAndReadsBack) {
  const Router idf = router(signature::Transform::kCountIdf, {1}, {0.5f, 0.1f});
  const auto text = write_eldr_centroids(idf);
  ASSERT_TRUE(text) << text.error().message;
  EXPECT_EQ(*text, kFile);
  const auto read = read_eldr_centroids(kFile, shape(), "eldr.json");
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, idf);
}

TEST(Eldr, EveryTransformThatEldrKnowsGoesBothWays) {
  for (const Router& one :
       {router(signature::Transform::kCount, {0, 1}), router(signature::Transform::kGateProbability, {0})}) {
    const auto text = write_eldr_centroids(one);
    ASSERT_TRUE(text) << text.error().message;
    const auto read = read_eldr_centroids(*text, shape(), "eldr.json");
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(*read, one);
  }
}

TEST(Eldr, CountsOnSomeLayersBecomeWeightsOfOne) {
  const auto text = write_eldr_centroids(router(signature::Transform::kCount, {1}));
  ASSERT_TRUE(text) << text.error().message;
  const auto read = read_eldr_centroids(*text, shape(), "eldr.json");
  ASSERT_TRUE(read) << read.error().message;
  const std::vector<float> counts = {5, 5, 3, 4};
  std::vector<float> plain(2), weighted(2);
  signature::signature(router(signature::Transform::kCount, {1}).assigner.space, counts, plain);
  signature::signature(read->assigner.space, counts, weighted);
  EXPECT_EQ(plain, weighted);
}

TEST(Eldr, ReadsAFileWithOnlyWhatEldrsLoaderNeeds) {
  const auto read = read_eldr_centroids(
      R"({"L":2,"e":2,"centroids":[[0.6,0,0,0.8]],"n_fit":32,"layer_select":"all"})", shape(), "eldr.json");
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->assigner.space.layers, shape().layers);
  EXPECT_EQ(read->assigner.capacities, (std::vector<double>{1}));
}

TEST(Eldr, RefusesWhatEldrCannotExpress) {
  for (const auto transform : {signature::Transform::kSqrtCount, signature::Transform::kBinary}) {
    const auto text = write_eldr_centroids(router(transform, {0, 1}));
    ASSERT_FALSE(text);
    EXPECT_NE(text.error().message.find("fit it again"), std::string::npos);
  }
  Router empty = router(signature::Transform::kCount, {0, 1});
  std::fill(empty.assigner.prototypes.begin() + 4, empty.assigner.prototypes.end(), 0.0f);
  const auto text = write_eldr_centroids(empty);
  ASSERT_FALSE(text);
  EXPECT_NE(text.error().message.find("decoder 1 has a prototype of zeros"), std::string::npos);
}

TEST(Eldr, RefusesWrongFilesWithTheirKey) {
  const auto refused = [](const std::function<void(Json&)>& change, const std::string& part) {
    auto json = io::parse_json(kFile, "sample");
    change(*json);
    const auto read = read_eldr_centroids(json->dump(), shape(), "bad.json");
    ASSERT_FALSE(read) << part;
    EXPECT_EQ(read.error().kind, ErrorKind::kBadInput);
    EXPECT_NE(read.error().message.find("bad.json: " + part), std::string::npos) << read.error().message;
  };
  refused([](Json& j) { j["L"] = 3; }, "L: found 3, expected a whole number from 2 to 2");
  refused([](Json& j) { j["e"] = 4; }, "e: found 4");
  refused([](Json& j) { j["variant"] = "cube"; }, "variant: found \"cube\"");
  refused([](Json& j) { j["sig_dtype"] = "<f4"; }, "sig_dtype: found \"<f4\", expected \"<i2\"");
  refused([](Json& j) { j["sig_mean"] = 1; }, "sig_mean: found 1");
  refused([](Json& j) { j["layer_mask"] = Json::Array{2}; }, "layer_mask[0]: found 2");
  refused([](Json& j) { j["layer_mask"] = Json::Array{1, 0}; }, "sig_idf: found an array of 2");
  refused([](Json& j) { j.as_object()->erase("layer_mask"); }, "layer_mask: found nothing");
  refused([](Json& j) { j.as_object()->erase("sig_idf"); }, "sig_idf: found nothing");
  refused([](Json& j) { j["variant"] = "count"; }, "layer_mask: found an array of 1, expected all layers");
  refused([](Json& j) { j["sig_idf"] = Json::Array{1, "x"}; }, "sig_idf: found \"x\"");
  refused([](Json& j) { j["k"] = 3; }, "k: found 3");
  refused([](Json& j) { j["centroids"] = Json::Array{}; },
          "centroids: found an array of 0, expected at least one");
  refused([](Json& j) { j["centroids"] = Json::Array{Json::Array{1}, Json::Array{1}}; },
          "centroids[0]: found an array");
  refused([](Json& j) { j["centroids"] = Json::Array{Json::Array{1, 1}, Json::Array{0, 1}}; }, "");
  refused([](Json& j) { j["seed"] = -1; }, "seed: found -1");
}

}  // namespace
}  // namespace moesaic::artifact
