#include <algorithm>
#include <numeric>

#include "placement/algorithms.hpp"
#include "placement/coactivation.hpp"
#include "placement/fill.hpp"
#include "placement/trtllm.hpp"

namespace moesaic::placement {
namespace {

/// A rank stops growing by co-occurrence at this share of its slots or of the average load.
constexpr double kAlpha = 0.8;

class TrtllmCooccurrence final : public Algorithm {
 public:
  std::string_view name() const override { return "trtllm-cooccurrence"; }
  std::string_view summary() const override {
    return "grows each GPU from a hot expert by co-occurrence to 80 % of it, the rest by load";
  }
  std::string_view source() const override { return "TensorRT-LLM 2025, co-occurrence variant, alpha 0.8"; }
  bool needs_tokens() const override { return true; }

  Result<Solution> place(const Problem& problem) const override {
    const ModelShape& shape = problem.demand.shape();
    const std::size_t ranks = problem.topology.gpus(), per_rank = problem.slots_per_gpu;
    return fill(problem, [&](std::size_t row, std::span<ExpertId> slots) -> Status {
      MOESAIC_ASSIGN(const LayerDemand layer, problem.demand.layer(row));
      const std::vector<std::int64_t> together = coactivation(layer.experts, shape.top_k, shape.experts);
      const std::vector<float> loads = layer_loads(problem.demand, row);
      const std::vector<std::size_t> copies = trtllm::replicate(loads, slots.size());
      std::vector<std::size_t> left = copies;
      std::ranges::fill(slots, kMissingExpert);
      const auto size = [&](std::size_t e) {
        return static_cast<double>(loads[e]) / static_cast<double>(copies[e]);
      };
      const double average = std::accumulate(loads.begin(), loads.end(), 0.0) / static_cast<double>(ranks);
      for (std::size_t rank = 0; rank < ranks; ++rank) {
        const auto mine = slots.subspan(rank * per_rank, per_rank);
        std::vector<std::int64_t> pull(shape.experts);  // co-occurrence with what the rank holds
        double load = 0;
        for (std::size_t used = 0; used < per_rank; ++used) {
          if (used > 0 &&
              (static_cast<double>(used) > kAlpha * static_cast<double>(per_rank) || load > kAlpha * average))
            break;
          std::size_t best = shape.experts;
          for (std::size_t e = 0; e < shape.experts; ++e) {
            if (left[e] == 0 || std::ranges::count(mine.first(used), ExpertId(e)) > 0) continue;
            const bool better =
                best == shape.experts || (used == 0 ? size(e) > size(best) : pull[e] > pull[best]);
            if (better) best = e;
          }
          if (best == shape.experts) break;
          mine[used] = ExpertId(best);
          --left[best];
          load += size(best);
          for (std::size_t e = 0; e < shape.experts; ++e) pull[e] += together[best * shape.experts + e];
        }
      }
      trtllm::place_rest(loads, copies, left, ranks, slots);
      return {};
    });
  }
};

}  // namespace

const Algorithm& trtllm_cooccurrence() {
  static const TrtllmCooccurrence algorithm;
  return algorithm;
}

}  // namespace moesaic::placement
