// A store in memory for planning tests: 60 requests of 12 experts, k = 3, 2 layers.
#pragma once

#include <fmt/format.h>

#include <optional>

#include "core/random.hpp"
#include "io/memory_files.hpp"
#include "planning/plan_maker.hpp"
#include "planning/split.hpp"
#include "trace/writer.hpp"

namespace moesaic::planning::testing {

/// Domain "rare" (one request in six) uses experts together that "usual" never does: what suits one does not
/// suit the other. Request r arrives at r, or there are no arrivals.
class SmallStore {
 public:
  explicit SmallStore(bool arrivals = true) {
    const ModelShape shape{
        .model = "small", .model_layers = 2, .layers = {LayerId{0}, LayerId{1}}, .experts = 12, .top_k = 3};
    Pcg32 random(7);
    auto writer = trace::TokenWriter::open(files_, "/t.zarr", shape, {});
    EXPECT_TRUE(writer);
    for (std::int64_t r = 0; r < 60; ++r) {
      const bool rare = r % 6 == 5;
      std::vector<ExpertId> experts;
      for (int row = 0; row < 12 * 2; ++row) {
        const std::uint32_t group = random.below(4);
        for (std::uint32_t i = 0; i < 3; ++i) {
          const std::uint32_t expert = rare ? group + 4 * i : 3 * group + i;
          experts.push_back(ExpertId(static_cast<std::uint16_t>(expert)));
        }
      }
      trace::RequestRecord record{
          .id = fmt::format("r{}", r), .domain = rare ? "rare" : "usual", .decode_tokens = 12};
      if (arrivals) record.arrival_ns = r;
      EXPECT_TRUE(writer->add_request(record, experts));
    }
    EXPECT_TRUE(writer->finish(12, {}));
    trace_.emplace(*trace::Trace::open(files_, "/t.zarr"));
  }

  const trace::Trace& trace() const { return *trace_; }
  static SplitOptions split_options() {
    SplitOptions options;
    options.topology = {.nodes = 4, .gpus_per_node = 1};
    options.from = {.prefill = false, .fraction = 0.5};
    return options;
  }
  Result<Split> split(ThreadPool& pool) const { return Split::make(*trace_, split_options(), pool); }
  static PlaceOptions place() {
    PlaceOptions options;
    options.algorithm = "moesaic";
    options.slots_per_gpu = 3;
    options.max_imbalance = 2;
    return options;
  }

 private:
  io::MemoryFiles files_;
  std::optional<trace::Trace> trace_;
};

}  // namespace moesaic::planning::testing
