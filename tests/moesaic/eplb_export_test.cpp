// EPLB through the program: counts in a store, `plan --algorithm eplb`, `export --to sglang`, and the
// engine's file holds the reference's slots.
#include <fmt/format.h>

#include <cstdlib>

#include "artifact/engine.hpp"
#include "placement/eplb_golden.hpp"
#include "support/paths.hpp"
#include "support/temporary_folder.hpp"
#include "trace/writer.hpp"

namespace moesaic {
namespace {

void expect_success(const std::string& arguments) {
  const std::string command = fmt::format("{} {} > /dev/null", moesaic::testing::program_path(), arguments);
  ASSERT_EQ(std::system(command.c_str()), 0) << command;
}

TEST(EplbExport, GivesSglangTheReferencesSlotsInEveryGoldenCase) {
  MOESAIC_NEEDS_SHARED("golden/eplb/cases.json");
  const auto goldens = placement::testing::read_eplb_goldens();
  ASSERT_TRUE(goldens) << goldens.error().message;
  for (const placement::testing::EplbGolden& golden : *goldens) {
    const testing::TemporaryFolder folder;
    const Topology topology{.nodes = golden.shape.nodes,
                            .gpus_per_node = golden.shape.gpus / golden.shape.nodes};
    trace::CountStore store;
    store.shape = {.model = "golden",
                   .model_layers = golden.shape.layers + 1,  // a dense layer first
                   .layers = {},
                   .experts = golden.shape.experts,
                   .top_k = 1};
    for (std::size_t row = 0; row < golden.shape.layers; ++row)
      store.shape.layers.push_back(LayerId(row + 1));
    store.unit = trace::CountUnit::kTokens;
    store.rows = {trace::CountRow{}};
    store.counts.assign(golden.weight.begin(), golden.weight.end());
    store.requests.domains = {""};
    const Status written = trace::write_count_store(io::real_files(), folder / "counts.zarr", store, {});
    ASSERT_TRUE(written) << written.error().message;
    expect_success(
        fmt::format("plan {} --nodes {} --gpus-per-node {} --algorithm eplb --expert-groups {} "
                    "--slots-per-gpu {} -o {}",
                    folder / "counts.zarr", topology.nodes, topology.gpus_per_node, golden.shape.groups,
                    golden.shape.replicas / golden.shape.gpus, folder / "plan.json"));
    expect_success(fmt::format("export {} --to sglang -o {}", folder / "plan.json", folder / "map.json"));
    const auto text = io::read_file(io::real_files(), folder / "map.json", 64 << 20);
    ASSERT_TRUE(text) << text.error().message;
    const auto placement =
        artifact::read_engine_file(*text, artifact::Engine::kSglang, store.shape, topology, "map.json");
    ASSERT_TRUE(placement) << placement.error().message;
    std::vector<std::int64_t> slots;
    for (const ExpertId expert : placement->all_slots()) slots.push_back(static_cast<std::int64_t>(expert));
    EXPECT_EQ(slots, golden.phy2log) << golden.name;
  }
}

}  // namespace
}  // namespace moesaic
