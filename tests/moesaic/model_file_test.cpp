// A model described in YAML stands wherever a preset's name does (docs/cost.md), through the program.
#include "core/json.hpp"
#include "io/files.hpp"
#include "io/json.hpp"
#include "support/paths.hpp"
#include "support/program.hpp"
#include "support/temporary_folder.hpp"

namespace moesaic {
namespace {

using testing::run_moesaic;

/// The sample's model with states twice as wide as its preset's.
constexpr std::string_view kWide =
    "name: wide\nmodel_layers: 6\nexperts: 32\ntop_k: 4\nhidden_size: 256\nexpert_intermediate_size: 128\n";

class ModelFile : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto imported =
        run_moesaic({"import", testing::source_path("samples/moesaic-mini"), "-o", at("t.zarr")});
    ASSERT_EQ(imported.exit_code, 0) << imported.err;
    write("wide.yaml", kWide);
  }
  std::string at(const std::string& name) const { return folder_ / name; }
  void write(const std::string& name, std::string_view text) const {
    ASSERT_TRUE(io::write_file_atomically(io::real_files(), at(name), text, true));
  }
  /// A number of the result of a command that ends with --json.
  double figure(std::vector<std::string> arguments, std::initializer_list<const char*> keys) const {
    arguments.insert(arguments.end(), {"--json", at("r.json")});
    const auto done = run_moesaic(arguments);
    EXPECT_EQ(done.exit_code, 0) << done.err;
    const auto json = io::read_json(io::real_files(), at("r.json"));
    const Json* at_key = json ? &*json : nullptr;
    for (const char* key : keys) at_key = at_key != nullptr ? at_key->find(key) : nullptr;
    double value = -1;
    EXPECT_TRUE(at_key != nullptr && at_key->to_double(value)) << arguments[0];
    return value;
  }
  const testing::TemporaryFolder folder_;
};

TEST_F(ModelFile, GivesPlanCompareAndEvaluateTheirBytes) {
  const std::vector<std::string> cluster = {"--nodes", "2", "--gpus-per-node", "2", "--model"};
  const auto bytes = [&](std::string_view command, const std::string& model) {
    std::vector<std::string> words = {std::string(command), at("t.zarr")};
    if (command == "evaluate") {
      words = {"evaluate", at("p.json"), at("t.zarr"), "--model", model};
      return figure(words, {"baselines", "linear", "dedup", "inter_node_bytes_per_token"});
    }
    words.insert(words.end(), cluster.begin(), cluster.end());
    words.push_back(model);
    if (command == "compare") {
      words.insert(words.end(), {"-a", "linear", "--splits", "1"});
      return figure(words, {"algorithms", "linear", "dedup", "inter_node_bytes_per_token"});
    }
    words.insert(words.end(), {"-a", "linear", "-o", at("p.json"), "--force"});
    return figure(words, {"dedup", "inter_node_bytes_per_token"});
  };
  for (const char* command : {"plan", "compare", "evaluate"}) {
    const double preset = bytes(command, "moesaic-mini");
    EXPECT_GT(preset, 0) << command;
    // A copy is a state there and one back, with a scale for 128 numbers: all of it doubles.
    EXPECT_DOUBLE_EQ(bytes(command, at("wide.yaml")), 2 * preset) << command;
  }
}

TEST_F(ModelFile, ThatIsNoGoodIsRefusedWithItsLine) {
  write("bad.yaml", "name: bad\nlayers: 6\n");
  for (const auto& [model, part] : {std::pair{at("bad.yaml"), "bad.yaml, line 2: unknown key \"layers\""},
                                    {at("none.yaml"), "none.yaml"},
                                    {std::string("nobody"), "describe another model in a YAML file"}}) {
    const auto refused = run_moesaic(
        {"plan", at("t.zarr"), "--nodes", "2", "--gpus-per-node", "2", "--model", model, "-o", at("p.json")});
    EXPECT_EQ(refused.exit_code, 2) << refused.err;
    EXPECT_NE(refused.err.find(part), std::string::npos) << refused.err;
  }
}

}  // namespace
}  // namespace moesaic
