#include "artifact/plan.hpp"

#include "artifact/sample_plan.hpp"
#include "io/json.hpp"
#include "support/paths.hpp"
#include "support/temporary_folder.hpp"

namespace moesaic::artifact {
namespace {

using testing::sample_plan;

TEST(Plan, ReadsWhatItWroteAndWritesTheSameBytesAgain) {
  const Plan plan = sample_plan();
  const std::string text = to_json(plan);
  const auto read = parse_plan(text, "plan.json");
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, plan);
  EXPECT_EQ(to_json(*read), text);
}

TEST(Plan, KeepsTheClusterItsGpusAreOf) {
  Plan plan = sample_plan();
  plan.cluster = Cluster{.whole = {.nodes = 3, .gpus_per_node = 2}, .missing = {GpuId(2), GpuId(3)}};
  const auto read = parse_plan(to_json(plan), "plan.json");
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, plan);
}

TEST(Plan, GoesThroughAFileAndRefusesToOverwriteOne) {
  const moesaic::testing::TemporaryFolder folder;
  const std::string path = folder / "plan.json";
  ASSERT_TRUE(write_plan(io::real_files(), path, sample_plan(), false));
  const auto read = read_plan(io::real_files(), path);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, sample_plan());
  EXPECT_FALSE(write_plan(io::real_files(), path, sample_plan(), false));
  EXPECT_TRUE(write_plan(io::real_files(), path, sample_plan(), true));
}

/// The sample with one value changed must be refused with a message that holds `part`.
void expect_refused(const std::function<void(Json&)>& change, const std::string& part) {
  auto json = io::parse_json(to_json(sample_plan()), "sample");
  ASSERT_TRUE(json);
  change(*json);
  const auto read = parse_plan(json->dump(), "bad.json");
  ASSERT_FALSE(read) << part;
  EXPECT_EQ(read.error().kind, ErrorKind::kBadInput);
  EXPECT_NE(read.error().message.find("bad.json"), std::string::npos) << read.error().message;
  EXPECT_NE(read.error().message.find(part), std::string::npos) << read.error().message;
}

TEST(Plan, SaysWhichKeyIsWrongAndWhatItExpected) {
  expect_refused([](Json& j) { j["schema"] = "moesaic.plan/2"; },
                 "schema: found \"moesaic.plan/2\", expected \"moesaic.plan/1\"");
  expect_refused([](Json& j) { j["colour"] = 1; }, "colour: unknown key");
  expect_refused([](Json& j) { j["model"]["experts"] = "many"; },
                 "model.experts: found \"many\", expected a whole number from 1 to 65534");
  expect_refused([](Json& j) { j["model"]["layers"] = Json::Array{3, 1}; }, "ascending");
  expect_refused([](Json& j) { j["model"]["layers"] = Json::Array{1, -3}; }, "model.layers[1]: found -3");
  expect_refused([](Json& j) { j["topology"]["nodes"] = 0; }, "topology.nodes: found 0");
  expect_refused([](Json& j) { j["topology"] = Json::Array{}; },
                 "topology: found an array of 0, expected an object");
  expect_refused([](Json& j) { j["topology"]["racks"] = 1; }, "topology.racks: unknown key");
  expect_refused([](Json& j) { j["topology"]["nodes"] = 60'000; }, "topology: 60000 nodes");
  expect_refused([](Json& j) { j["placement"]["slots"] = Json::Array{}; },
                 "placement.slots: found an array of 0, expected an array of 2 items");
  expect_refused([](Json& j) { (*(*j["placement"]["slots"].as_array())[1].as_array())[2] = 4; },
                 "placement.slots[1][2]: found 4, expected an expert id below 4");
  expect_refused([](Json& j) { (*(*j["placement"]["slots"].as_array())[0].as_array())[5] = 0; },
                 "layer 1 has no slot for expert 3");
  expect_refused([](Json& j) { j["placement"]["slots_per_gpu"] = 4'000'000; }, "placement.slots_per_gpu");
  const auto cluster = [](Json::Array missing) {
    return [missing](Json& j) {
      j["cluster"] = Json::Object{{"nodes", 3}, {"gpus_per_node", 2}, {"missing_gpus", missing}};
    };
  };
  expect_refused(cluster({2}), "cluster: missing GPUs 2");
  expect_refused(cluster({0, 1, 2, 3}), "expected one whose remaining GPUs are the topology's");
  expect_refused(cluster({0, 9}), "expected ids below 6");
  expect_refused([](Json& j) { j["cluster"] = 3; }, "cluster: found 3, expected an object");
  expect_refused([](Json& j) { j["attention"] = "pp"; }, "attention: found \"pp\", expected dp or tp");
  expect_refused([](Json& j) { j["dispatch"] = "best"; }, "dispatch: found \"best\"");
  expect_refused([](Json& j) { j["label"] = "good"; }, "label: found \"good\"");
  expect_refused([](Json& j) { j["constraints_met"] = 1; },
                 "constraints_met: found 1, expected true or false");
  expect_refused([](Json& j) { j["notes"] = Json::Array{1}; }, "notes[0]: found 1, expected a string");
  expect_refused([](Json& j) { j["score"] = 1; }, "score: found 1, expected an object");
  expect_refused([](Json& j) { (*(*j["loads"].as_array())[1].as_array())[0] = -1; },
                 "loads[1][0]: found -1, expected a number >= 0");
  expect_refused([](Json& j) { (*j["loads"].as_array())[0] = Json::Array{1}; },
                 "loads[0]: found an array of 1, expected an array of 4 items");
  expect_refused([](Json& j) { j["homes"]["r9"] = 4; }, "homes.r9: found 4, expected a home below 4");
  expect_refused([](Json& j) { j["assigner"]["target"] = "decoder"; }, "expected an assigner to 4 homes");
  expect_refused([](Json& j) { j["assigner"]["target"] = "rack"; }, "assigner.target: found \"rack\"");
  expect_refused([](Json& j) { j["assigner"]["transform"] = "cube"; }, "assigner.transform: found \"cube\"");
  expect_refused([](Json& j) { j["assigner"]["layers"] = Json::Array{2}; }, "assigner");
  expect_refused([](Json& j) { j["assigner"]["prototypes"] = Json::Array{}; },
                 "assigner.prototypes: found an array of 0, expected an array of 4 items");
  expect_refused([](Json& j) { (*(*j["assigner"]["prototypes"].as_array())[0].as_array())[1] = 1; },
                 "assigner");
  expect_refused([](Json& j) { (*(*j["assigner"]["idf"].as_array())[0].as_array())[1] = "x"; },
                 "assigner.idf[0][1]: found \"x\", expected a number");
  expect_refused([](Json& j) { j["assigner"]["capacities"] = Json::Array{0.5, 0.5, "x", 0}; },
                 "assigner.capacities: found \"x\"");
  expect_refused([](Json& j) { j["assigner"]["idf"] = Json(); }, "assigner");
  expect_refused([](Json& j) { j["algorithm"]["max_imbalance"] = 0.5; },
                 "algorithm.max_imbalance: found 0.5");
  expect_refused([](Json& j) { j["algorithm"]["options"] = 1; }, "algorithm.options: found 1");
  expect_refused([](Json& j) { j["source"]["requests"] = "some"; }, "source.requests: found \"some\"");
  expect_refused([](Json& j) { j["source"]["phase"] = "later"; }, "source.phase: found \"later\"");
  expect_refused([](Json& j) { j["source"]["predict_from"] = "fraction:2"; }, "source.predict_from");
  expect_refused([](Json& j) { j["source"]["heldout_share"] = 2; }, "source.heldout_share: found 2");
  expect_refused([](Json& j) { j["source"]["windows"] = Json::Array{3, 3}; }, "source.windows");
}

TEST(Plan, SaysWhichKeyIsMissing) {
  const auto whole = io::parse_json(to_json(sample_plan()), "sample");
  ASSERT_TRUE(whole);
  for (const auto& [key, value] : *whole->as_object()) {
    Json::Object less = *whole->as_object();
    less.erase(key);
    const auto read = parse_plan(Json(std::move(less)).dump(), "bad.json");
    ASSERT_FALSE(read) << key;
    EXPECT_NE(read.error().message.find("bad.json: " + key + ": found nothing"), std::string::npos)
        << read.error().message;
  }
}

TEST(Plan, RefusesEveryTruncation) {
  const std::string text = to_json(sample_plan());
  for (std::size_t length = 0; length + 2 < text.size(); ++length) {
    EXPECT_FALSE(parse_plan(text.substr(0, length), "cut.json")) << length;
  }
}

TEST(Plan, TheKeptFixtureOfVersion1StillReads) {
  const std::string path = moesaic::testing::source_path("tests/data/artifact/plan-v1.json");
  const auto text = io::read_file(io::real_files(), path, 1 << 20);
  ASSERT_TRUE(text) << text.error().message;
  const auto read = parse_plan(*text, path);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(to_json(*read), *text);
  EXPECT_EQ(*read, sample_plan());
}

}  // namespace
}  // namespace moesaic::artifact
