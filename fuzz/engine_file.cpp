// The files of inference engines: the first byte picks the engine, the rest is the file. The model has MoE
// layers 1 and 3 of 5 and 4 experts, on 2 nodes x 2 GPUs.
#include "artifact/engine.hpp"

#include <iterator>
#include <string_view>

#include "core/check.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace moesaic;
  using namespace moesaic::artifact;
  if (size == 0) return 0;
  const Engine engine = kEngines[data[0] % std::size(kEngines)];
  const ModelShape shape{
      .model = "fuzz", .model_layers = 5, .layers = {LayerId(1), LayerId(3)}, .experts = 4, .top_k = 2};
  const Topology topology{.nodes = 2, .gpus_per_node = 2};
  const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  const auto placement = read_engine_file(text, engine, shape, topology, "fuzz");
  if (!placement) return 0;
  const Plan plan{.shape = shape, .placement = *placement};
  const auto written = export_plan(plan, engine, "fuzz.json");  // reads back and compares
  MOESAIC_CHECK(written.has_value());
  return 0;
}
