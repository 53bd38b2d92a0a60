#include "signature/assigner.hpp"

#include <cmath>

namespace moesaic::signature {
namespace {

ModelShape two_layers() {
  return {.model = "toy", .model_layers = 4, .layers = {LayerId(1), LayerId(3)}, .experts = 3, .top_k = 1};
}

Assigner toy() {
  Assigner assigner{.space = all_layers(two_layers(), Transform::kCount)};
  assigner.prototypes = {1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.6F, 0.8F};
  assigner.capacities = {0.5, 0.5};
  return assigner;
}

TEST(Transform, EachDoesWhatItsNameSays) {
  const std::vector<float> counts{4, 0, 0, 1, 0, 0};
  const std::vector<float> idf{0.5F, 1, 1, 2, 1, 1};
  std::vector<float> out(6);
  const auto ratio = [&](Transform transform) {  // of the two entries
    signature(all_layers(two_layers(), transform, idf), counts, out);
    EXPECT_NEAR(out[0] * out[0] + out[3] * out[3], 1, 1e-6);
    EXPECT_EQ(out[1], 0);
    return out[0] / out[3];
  };
  EXPECT_NEAR(ratio(Transform::kCount), 4, 1e-6);
  EXPECT_NEAR(ratio(Transform::kCountIdf), 1, 1e-6);
  EXPECT_NEAR(ratio(Transform::kSqrtCount), 2, 1e-6);
  EXPECT_NEAR(ratio(Transform::kBinary), 1, 1e-6);
  EXPECT_NEAR(ratio(Transform::kGateProbability), 4, 1e-6);
}

TEST(Transform, ReadsBackItsNamesAndRefusesOthers) {
  for (const Transform transform : kTransforms) EXPECT_EQ(*parse_transform(name(transform)), transform);
  const auto wrong = parse_transform("tfidf");
  ASSERT_FALSE(wrong);
  EXPECT_NE(wrong.error().message.find("'tfidf'"), std::string::npos);
}

TEST(InverseDocumentFrequency, IsTheLogarithmOfRequestsOverRequestsWithTheExpert) {
  const std::vector<float> counts{1, 0, 9, 2, 0, 0};
  const auto idf = inverse_document_frequency({.layers = 1, .experts = 3, .values = counts});
  EXPECT_NEAR(idf[0], 0, 1e-7);              // both requests: ln(3/3)
  EXPECT_NEAR(idf[1], std::log(3.0), 1e-6);  // none: ln(3/1)
  EXPECT_NEAR(idf[2], std::log(1.5), 1e-6);  // one: ln(3/2)
}

TEST(Space, RestrictingKeepsLayersRowsAndIdfTogether) {
  const std::vector<float> idf{1, 2, 3, 4, 5, 6};
  const Space all = all_layers(two_layers(), Transform::kCountIdf, idf);
  const Space second = restricted(all, std::vector<std::uint32_t>{1});
  EXPECT_EQ(second.layers, std::vector<LayerId>{LayerId(3)});
  EXPECT_EQ(second.rows, std::vector<std::uint32_t>{1});
  EXPECT_EQ(second.idf, (std::vector<float>{4, 5, 6}));
}

TEST(Space, BindsToTheRowsOfAnotherListOfLayersOrSaysWhatIsMissing) {
  Space space = restricted(all_layers(two_layers(), Transform::kCount), std::vector<std::uint32_t>{1});
  ModelShape more = two_layers();
  more.layers = {LayerId(0), LayerId(1), LayerId(3)};
  ASSERT_TRUE(bind(space, more));
  EXPECT_EQ(space.rows, std::vector<std::uint32_t>{2});
  more.layers = {LayerId(0), LayerId(1)};
  const auto lacking = bind(space, more);
  ASSERT_FALSE(lacking);
  EXPECT_NE(lacking.error().message.find("layer 3"), std::string::npos);
  EXPECT_EQ(space.rows, std::vector<std::uint32_t>{2});
  more.experts = 4;
  EXPECT_FALSE(bind(space, more));
}

TEST(Assigner, ScoresAreCosinesToThePrototypes) {
  const Assigner assigner = toy();
  ASSERT_TRUE(validate(assigner));
  std::vector<double> out(2);
  scores(assigner, std::vector<float>{3, 0, 0, 0, 0, 4}, out);
  EXPECT_NEAR(out[0], 0.6, 1e-6);
  EXPECT_NEAR(out[1], 0.64, 1e-6);
  EXPECT_EQ(best_target(out), 1u);
  scores(assigner, std::vector<float>(6), out);
  EXPECT_EQ(out, (std::vector<double>{0, 0}));
  EXPECT_EQ(best_target(out), 0u);
}

TEST(Assigner, IgnoresLayersThatWereNotChosen) {
  Assigner assigner = toy();
  assigner.space = restricted(assigner.space, std::vector<std::uint32_t>{1});
  assigner.prototypes = {1, 0, 0, 0, 0, 1};
  std::vector<double> out(2);
  scores(assigner, std::vector<float>{100, 100, 100, 0, 0, 2}, out);
  EXPECT_EQ(out, (std::vector<double>{0, 1}));
}

TEST(Assigner, MeanPrototypesPointWhereTheirMembersDo) {
  const std::vector<float> dense{1, 0, 0, 0, 1, 0, 0, 0, 1};
  const auto rows = solve::sparse_rows(dense, 3);
  const auto prototypes = mean_prototypes(rows, std::vector<std::uint32_t>{0, 0, 2}, 3);
  const float half = static_cast<float>(std::sqrt(0.5));
  EXPECT_EQ(prototypes, (std::vector<float>{half, half, 0, 0, 0, 0, 0, 0, 1}));
}

TEST(Assigner, EveryDefectIsNamed) {
  const auto message = [](auto&& spoil) {
    Assigner assigner = toy();
    spoil(assigner);
    const auto status = validate(assigner);
    return status ? std::string() : status.error().message;
  };
  const auto has = [](const std::string& text, const char* part) {
    return ::testing::AssertionResult(text.find(part) != std::string::npos) << "in: " << text;
  };
  EXPECT_TRUE(has(message([](Assigner& a) { a.space.layers.clear(); }), "no layers"));
  EXPECT_TRUE(
      has(message([](Assigner& a) { std::swap(a.space.layers[0], a.space.layers[1]); }), "do not ascend"));
  EXPECT_TRUE(has(message([](Assigner& a) { a.space.rows.pop_back(); }), "1 layer rows for 2"));
  EXPECT_TRUE(has(message([](Assigner& a) { a.space.idf = {1}; }), "1 idf values"));
  EXPECT_TRUE(has(message([](Assigner& a) { a.space.transform = Transform::kCountIdf; }), "0 idf values"));
  EXPECT_TRUE(has(message([](Assigner& a) {
                    a.space.transform = Transform::kCountIdf;
                    a.space.idf = {1, 1, 1, 1, 1, -1};
                  }),
                  "negative or infinite"));
  EXPECT_TRUE(has(message([](Assigner& a) { a.prototypes.pop_back(); }), "11 prototype values"));
  EXPECT_TRUE(has(message([](Assigner& a) { a.prototypes[0] = NAN; }), "not finite"));
  EXPECT_TRUE(
      has(message([](Assigner& a) { a.prototypes[0] = 2; }), "Prototype 0 of the assigner has length 2"));
  EXPECT_TRUE(has(message([](Assigner& a) { a.capacities[1] = 0; }), "Target 1"));
  EXPECT_TRUE(has(message([](Assigner& a) { a.capacities[1] = NAN; }), "Target 1"));
  EXPECT_TRUE(has(message([](Assigner& a) { a.capacities[1] = 0.6; }), "add up to 1.1"));
  EXPECT_EQ(message([](Assigner&) {}), "");
}

TEST(Target, ReadsBackItsNames) {
  EXPECT_EQ(*parse_target(name(Target::kHome)), Target::kHome);
  EXPECT_EQ(*parse_target(name(Target::kDecoder)), Target::kDecoder);
  EXPECT_FALSE(parse_target("gpu"));
}

}  // namespace
}  // namespace moesaic::signature
