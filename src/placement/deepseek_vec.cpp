#include "placement/deepseek_vec.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "placement/algorithms.hpp"
#include "placement/eplb_problem.hpp"
#include "placement/windows.hpp"

namespace moesaic::placement {
namespace deepseek_vec {
namespace {

using eplb::Mapping;
using eplb::Shape;

/// One layer. Experts are renumbered so that those of a node (a "chunk") are neighbours.
class Layer {
 public:
  Layer(std::span<const float> loads, std::size_t windows, const Shape& shape, std::size_t row,
        std::size_t chunks)
      : windows_(windows),
        experts_(shape.experts),
        slots_(shape.replicas),
        chunks_(chunks),
        per_gpu_(shape.replicas / shape.gpus),
        original_(shape.experts),
        count_(shape.experts, 1),
        copies_(shape.experts) {
    std::iota(original_.begin(), original_.end(), std::size_t{0});
    for (std::size_t w = 0; w < windows; ++w)
      window_.push_back(loads.subspan((w * shape.layers + row) * experts_, experts_));
    if (chunks > 1) pack_groups(shape.groups);
    for (std::size_t w = 0; w < windows; ++w) {
      std::vector<float> mine(experts_);
      for (std::size_t m = 0; m < experts_; ++m) mine[m] = window_[w][original_[m]];
      load_.push_back(std::move(mine));
    }
  }

  void run(std::span<std::int32_t> phy2log, std::span<std::int32_t> log2phy, std::span<std::int32_t> logcnt) {
    const std::size_t per_chunk = experts_ / chunks_, slots_a_chunk = slots_ / chunks_;
    expert_of_.resize(slots_);
    for (std::size_t m = 0; m < experts_; ++m) {
      const std::size_t slot = m / per_chunk * slots_a_chunk + m % per_chunk;
      expert_of_[slot] = m;
      copies_[m].push_back(slot);
    }
    for (std::size_t extra = per_chunk; extra < slots_a_chunk; ++extra) {
      for (std::size_t chunk = 0; chunk < chunks_; ++chunk) add_copy(chunk, chunk * slots_a_chunk + extra);
    }
    const std::vector<std::size_t> order = deal();  // old slot of each new slot
    std::vector<std::size_t> now(slots_);
    for (std::size_t slot = 0; slot < slots_; ++slot) now[order[slot]] = slot;
    for (std::size_t slot = 0; slot < slots_; ++slot)
      phy2log[slot] = static_cast<std::int32_t>(original_[expert_of_[order[slot]]]);
    std::ranges::fill(log2phy, -1);
    const std::size_t most = slots_ - experts_ + 1;
    for (std::size_t m = 0; m < experts_; ++m) {
      logcnt[original_[m]] = static_cast<std::int32_t>(copies_[m].size());
      for (std::size_t c = 0; c < copies_[m].size(); ++c)
        log2phy[original_[m] * most + c] = static_cast<std::int32_t>(now[copies_[m][c]]);
    }
  }

 private:
  /// Groups by descending load, each to the node with the least that has room.
  void pack_groups(std::size_t groups) {
    const std::size_t size = experts_ / groups, per_node = groups / chunks_;
    std::vector<float> sum(experts_), load(groups);
    for (std::size_t e = 0; e < experts_; ++e) {
      for (const std::span<const float> window : window_) sum[e] += window[e];
    }
    for (std::size_t e = 0; e < experts_; ++e) load[e / size] += sum[e];
    std::vector<std::size_t> order(groups), held(chunks_);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return load[a] > load[b]; });
    std::vector<float> carried(chunks_);
    for (const std::size_t group : order) {
      std::size_t best = chunks_;
      for (std::size_t node = 0; node < chunks_; ++node) {
        if (held[node] < per_node && (best == chunks_ || carried[node] < carried[best])) best = node;
      }
      const std::size_t place = best * per_node + held[best]++;
      carried[best] += load[group];
      for (std::size_t i = 0; i < size; ++i) original_[place * size + i] = group * size + i;
    }
  }

  void add_copy(std::size_t chunk, std::size_t slot) {
    const std::size_t size = experts_ / chunks_, first = chunk * size;
    std::vector<float> after(size), peak(size);
    for (std::size_t w = 0; w < windows_; ++w) {
      std::size_t top = 0;
      for (std::size_t i = 0; i < size; ++i) {
        const std::size_t m = first + i;
        // A little more for later experts: loads of a window must differ for the argmax to be one.
        peak[i] = (load_[w][m] + static_cast<float>(m) * 1e-4F) / static_cast<float>(count_[m]);
        if (peak[i] > peak[top]) top = i;
      }
      const float before = peak[top];
      peak[top] = load_[w][first + top] / static_cast<float>(count_[first + top] + 1);
      const float then = *std::ranges::max_element(peak);
      for (std::size_t i = 0; i < size; ++i) after[i] += i == top ? then : before;
    }
    const std::size_t best =
        first + static_cast<std::size_t>(std::ranges::min_element(after) - after.begin());
    expert_of_[slot] = best;
    copies_[best].push_back(slot);
    ++count_[best];
  }

  /// Slots of a chunk by descending load of a copy; row after row over the chunk's GPUs, every second row
  /// backwards.
  std::vector<std::size_t> deal() const {
    std::vector<std::size_t> order(slots_);
    std::iota(order.begin(), order.end(), std::size_t{0});
    if (per_gpu_ == 1) return order;
    std::vector<float> score(slots_);
    for (std::size_t slot = 0; slot < slots_; ++slot) {
      const std::size_t m = expert_of_[slot];
      float sum = 0;
      for (std::size_t w = 0; w < windows_; ++w) sum += load_[w][m];
      score[slot] = sum / static_cast<float>(count_[m]);
    }
    const std::size_t size = slots_ / chunks_, gpus = size / per_gpu_;
    std::vector<std::size_t> dealt(slots_);
    for (std::size_t chunk = 0; chunk < chunks_; ++chunk) {
      const auto part = std::span(order).subspan(chunk * size, size);
      // Not stable, on purpose: the source's sort is libstdc++'s std::sort, and copies of an expert tie.
      std::sort(part.begin(), part.end(), [&](std::size_t a, std::size_t b) { return score[a] > score[b]; });
      for (std::size_t turn = 0; turn < per_gpu_; ++turn) {
        for (std::size_t g = 0; g < gpus; ++g) {
          const std::size_t gpu = turn % 2 == 0 ? g : gpus - 1 - g;
          dealt[chunk * size + gpu * per_gpu_ + turn] = part[turn * gpus + g];
        }
      }
    }
    return dealt;
  }

  std::size_t windows_, experts_, slots_, chunks_, per_gpu_;
  std::vector<std::span<const float>> window_;  ///< [W] of [E], original numbers
  std::vector<std::size_t> original_;           ///< [E]: expert of a renumbered one
  std::vector<std::vector<float>> load_;        ///< [W][E], renumbered
  std::vector<std::size_t> count_;              ///< copies so far
  std::vector<std::vector<std::size_t>> copies_;
  std::vector<std::size_t> expert_of_;  ///< [slots]
};

Status check(std::span<const float> loads, std::size_t windows, const Shape& shape, std::size_t chunks) {
  if (shape.gpus == 0 || shape.experts == 0 || windows == 0 || shape.groups == 0 || chunks == 0 ||
      loads.size() != windows * shape.layers * shape.experts) {
    return bad_input("deepseek_vec: expected loads [windows, layers, experts], one window or more.");
  }
  if (shape.replicas < shape.experts || shape.replicas % shape.gpus != 0 || shape.gpus % chunks != 0 ||
      shape.experts % shape.groups != 0 || shape.experts % chunks != 0 || shape.groups % chunks != 0) {
    return bad_input(fmt::format(
        "deepseek_vec: {} experts, {} slots, {} groups, {} nodes, {} GPUs: slots must divide over the GPUs, "
        "experts and GPUs over the nodes, groups over the nodes, and every expert needs a slot.",
        shape.experts, shape.replicas, shape.groups, chunks, shape.gpus));
  }
  for (std::size_t i = 0; i < loads.size(); ++i) {
    if (!(loads[i] >= 0) || !std::isfinite(loads[i])) {
      return bad_input(
          fmt::format("deepseek_vec: load {} at position {}: expected a finite number >= 0.", loads[i], i));
    }
  }
  return {};
}

}  // namespace

Result<Mapping> rebalance(std::span<const float> loads, std::size_t windows, const Shape& shape,
                          bool hierarchical, ThreadPool* pool) {
  Shape checked = shape;
  if (!hierarchical) checked.groups = checked.nodes = 1;
  const std::size_t chunks = checked.nodes;
  MOESAIC_TRY(check(loads, windows, checked, chunks));
  Mapping mapping;
  mapping.max_copies = shape.replicas - shape.experts + 1;
  mapping.phy2log.resize(shape.layers * shape.replicas);
  mapping.log2phy.resize(shape.layers * shape.experts * mapping.max_copies);
  mapping.logcnt.resize(shape.layers * shape.experts);
  const auto one = [&](std::size_t row) -> Status {
    const std::size_t most = shape.experts * mapping.max_copies;
    Layer(loads, windows, checked, row, chunks)
        .run(std::span(mapping.phy2log).subspan(row * shape.replicas, shape.replicas),
             std::span(mapping.log2phy).subspan(row * most, most),
             std::span(mapping.logcnt).subspan(row * shape.experts, shape.experts));
    return {};
  };
  if (pool != nullptr) {
    MOESAIC_TRY(pool->try_parallel_for(shape.layers, one));
  } else {
    for (std::size_t row = 0; row < shape.layers; ++row) MOESAIC_TRY(one(row));
  }
  return mapping;
}

}  // namespace deepseek_vec

namespace {

class DeepseekVec final : public Algorithm {
 public:
  std::string_view name() const override { return "deepseek-vec"; }
  std::string_view summary() const override {
    return "balances load window by window: each extra slot lowers the sum of the windows' peaks most";
  }
  std::string_view source() const override { return "SGLang 2025, deepseek_vec.py at 68836b6"; }
  bool needs_tokens() const override { return false; }

  Result<Solution> place(const Problem& problem) const override {
    const eplb::Shape shape = eplb_shape(problem);
    const bool hierarchical = shape.groups > 1 && shape.hierarchical();
    MOESAIC_ASSIGN(const WindowLoads loads, window_loads(problem.demand));
    MOESAIC_ASSIGN(const eplb::Mapping mapping,
                   deepseek_vec::rebalance(loads.rows, loads.windows, shape, hierarchical, problem.pool));
    MOESAIC_ASSIGN(Solution solution, solution_of(problem, mapping));
    if (loads.windows == 1) {
      solution.notes.push_back("deepseek-vec saw one window of loads: the trace holds no tokens to cut.");
    }
    return solution;
  }
};

}  // namespace

const Algorithm& deepseek_vec_algorithm() {
  static const DeepseekVec algorithm;
  return algorithm;
}

}  // namespace moesaic::placement
